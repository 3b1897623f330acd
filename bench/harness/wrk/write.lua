-- Creates sessions. The first argument is the file with the request body. With the second argument
-- "repeatable", each request has a new Idempotency-Key, with which a client may repeat the request.

local repeatable, number = false, 0

function init(arguments)
  local file = assert(io.open(arguments[1]))
  local body = file:read("*a")
  file:close()
  local headers = { ["Content-Type"] = "application/json" }
  repeatable = arguments[2] == "repeatable"
  if repeatable then
    -- An Idempotency-Key requires credentials. Without service clients, the service accepts any.
    headers["Authorization"] = "Basic YmVuY2g6YmVuY2g="
    headers["Idempotency-Key"] = "bench-NUMBER"
  end
  login = wrk.format("POST", "/v1/sessions", headers, body)
end

function request()
  if not repeatable then
    return login
  end
  number = number + 1
  return (string.gsub(login, "NUMBER", string.format("%016d", number), 1))
end

dofile("bench/harness/wrk/report.lua")
