-- Posts the images of a folder in turn, checks each answer, and writes when it began, then a line for each: index, when it
-- ended, status, ms, right or not.
-- Arguments: folder (with `list`: one line an image, content type), file to write, path, mean milliseconds between requests.
local ffi = require("ffi")
ffi.cdef [[ typedef struct { long s; long ns; } fcn_time; int clock_gettime(int clock, fcn_time *time); ]]
local time = ffi.new("fcn_time")
local heads, tails, expected, known, out = {}, {}, {}, {}, nil
local count, sent, pause = 0, 0, 0

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
    index = index + 1
  end
  count = index
  out = io.open(args[2], "w")
  out:setvbuf("line")
  pause = tonumber(args[4])
  math.randomseed(1)
  out:write(string.format("%.3f\n", now()))
end

function delay()
  return pause * 2 * math.random()
end

function request()
  local index = sent % count
  sent = sent + 1
  return heads[index] .. string.format("%d-%.6f", index, now()) .. tails[index]
end

function response(status, headers, body)
  local id, ended = headers["X-Request-ID"] or headers["x-request-id"] or "", now()
  local index, started = id:match("^(%d+)-([%d.]+)$")
  local right = known[body]
  if index then right = expected[tonumber(index)] == body end
  local ms = started and (ended - tonumber(started)) * 1000 or -1
  out:write(string.format("%s %.3f %d %.3f %d\n", index or "-1", ended, status, ms, right and 1 or 0))
end

function done(summary, latency, requests)
  io.write(string.format("FCN %d %d %.3f %.3f %.3f %d %d %d %d\n", summary.requests, summary.duration,
    latency:percentile(50) / 1000, latency:percentile(90) / 1000, latency:percentile(99) / 1000,
    summary.errors.connect, summary.errors.read, summary.errors.write, summary.errors.timeout))
end
