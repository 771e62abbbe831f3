-- Posts the images of a folder in turn, checks each answer, and writes when it began, then a line for each: index, when it
-- ended, status, ms, right or not.
-- Arguments: folder (with `list`: one line an image, content type), file to write, path, mean milliseconds between requests,
-- connections.
-- Requests are made once and sent again after their answers: to put one together each time, with its own id, costs this
-- process more than to send it.
local ffi = require("ffi")
ffi.cdef [[ typedef struct { long s; long ns; } fcn_time; int clock_gettime(int clock, fcn_time *time); ]]
local time = ffi.new("fcn_time")
local heads, tails, expected, known, out = {}, {}, {}, {}, nil
local made, started, free = {}, {}, {} -- by image, then by request; of those free to be sent again, the numbers
local count, sent, pause, connections = 0, 0, 0, 0

local function now()
  ffi.C.clock_gettime(1, time)
  return tonumber(time.s) + tonumber(time.ns) * 1e-9
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local data = file:read("*a")
  file:close()
  return data
end

function init(args)
  local folder, index = args[1], 0
  for type in io.lines(folder .. "/list") do
    local body = read(folder .. "/" .. index .. ".body")
    heads[index] = string.format("POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: %s\r\nContent-Length: %d\r\nX-Request-ID: ",
      args[3], wrk.host, wrk.port, type, #body)
    tails[index] = "\r\n\r\n" .. body
    expected[index] = read(folder .. "/" .. index .. ".expected")
    if expected[index] then known[expected[index]] = true end
    made[index], started[index], free[index] = {}, {}, {}
    index = index + 1
  end
  count = index
  out = io.open(args[2], "w")
  out:setvbuf("line")
  pause, connections = tonumber(args[4]), tonumber(args[5])
  math.randomseed(1)
  out:write(string.format("%.3f\n", now()))
end

function delay()
  return pause * 2 * math.random()
end

function request()
  local index = sent % count
  sent = sent + 1
  local requests, number = made[index], table.remove(free[index])
  if not number then -- answers that do not tell which request was theirs free none
    number = #requests < connections and #requests + 1 or sent % connections + 1
    requests[number] = requests[number] or heads[index] .. index .. "-" .. number .. tails[index]
  end
  started[index][number] = now()
  return requests[number]
end

function response(status, headers, body)
  local id, ended = headers["X-Request-ID"] or headers["x-request-id"] or "", now()
  local index, number = id:match("^(%d+)-(%d+)$")
  local right, ms = known[body], -1
  if index then
    index, number = tonumber(index), tonumber(number)
    right, ms = expected[index] == body, (ended - started[index][number]) * 1000
    table.insert(free[index], number)
  end
  out:write(string.format("%s %.3f %d %.3f %d\n", index or "-1", ended, status, ms, right and 1 or 0))
end

function done(summary, latency, requests)
  io.write(string.format("FCN %.6f %.3f %d %d %d %d\n", summary.duration / 1e6, latency:percentile(99) / 1000,
    summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.timeout))
end
