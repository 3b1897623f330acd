-- Makes a session; the file in the arguments holds the body.

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
