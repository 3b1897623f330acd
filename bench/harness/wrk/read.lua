-- Reads a session, one of those in the file of credentials (a header line each), at random.
-- All requests are made before the first is sent: what the generator costs is not the server's.

local requests, count = {}, 0

function init(arguments)
  math.randomseed(os.time())
  local host = wrk.headers["Host"]
  for credential in io.lines(arguments[1]) do
    count = count + 1
    requests[count] = "GET /v1/session HTTP/1.1\r\nHost: " .. host .. "\r\n" .. credential .. "\r\n\r\n"
  end
end

function request()
  return requests[math.random(count)]
end

dofile("bench/harness/wrk/report.lua")
