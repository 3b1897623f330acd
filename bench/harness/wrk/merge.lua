-- Merges Set-Cookie lines into sessions. The first argument is a file of credentials, which has one
-- header line per session. With the second argument "changed", each request sets a new value.
-- Otherwise, each request sets the value that the session already has.
-- The sessions are used one after the other, so that no two requests change the same session at the
-- same time. All parts of the requests are built before the first is sent.

local SESSIONS = 1000

local heads, count, number = {}, 0, 0
local changes = false

local BODY = '{"url":"https://golf.example/login.php",' ..
  '"set_cookie":["SESSIONID=%08d; Path=/; Secure; HttpOnly","csrf=b4c0; Path=/; Max-Age=86400"]}'

function init(arguments)
  changes = arguments[2] == "changed"
  local host = wrk.headers["Host"]
  local length = #string.format(BODY, 0)
  for credential in io.lines(arguments[1]) do
    count = count + 1
    heads[count] = "POST /v1/session/cookies HTTP/1.1\r\nHost: " .. host .. "\r\n" .. credential ..
      "\r\nContent-Type: application/json\r\nContent-Length: " .. length .. "\r\n\r\n"
    if count == SESSIONS then
      break
    end
  end
end

function request()
  number = number + 1
  return heads[number % count + 1] .. string.format(BODY, changes and number or 0)
end

dofile("bench/harness/wrk/report.lua")
