-- Creates sessions. The first argument is the file with the request body.

function init(arguments)
  local file = assert(io.open(arguments[1]))
  local body = file:read("*a")
  file:close()
  login = wrk.format("POST", "/v1/sessions", { ["Content-Type"] = "application/json" }, body)
end

function request()
  return login
end

dofile("bench/harness/wrk/report.lua")
