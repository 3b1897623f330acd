-- Requests one page through a gateway, with random sessions from a file of credentials, which has one
-- header line per session. The second argument is the path of the page.
-- All requests are built before the first is sent, so that building them is not measured.

local requests, count = {}, 0

function init(arguments)
  math.randomseed(os.time())
  local host = wrk.headers["Host"]
  for credential in io.lines(arguments[1]) do
    count = count + 1
    requests[count] = "GET " .. arguments[2] .. " HTTP/1.1\r\nHost: " .. host .. "\r\n" .. credential .. "\r\n\r\n"
  end
end

function request()
  return requests[math.random(count)]
end

dofile("bench/harness/wrk/report.lua")
