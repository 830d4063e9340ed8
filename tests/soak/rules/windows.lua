-- Windows and their kin under keys that change for ever: each remembers a bounded number of them.
local closed, rises = 0, mill.state("rises")

local function on_close(w)
  closed = closed + 1
  if closed % 50 == 0 then
    mill.publish("ticks.window", { key = w.key, count = w.count, mean = w.mean })
  end
end

local sums = mill.window { name = "sums", tumbling = 2, keys = 400, on_close = on_close }
local visits = mill.window { tumbling = 1, lateness = 1, keys = 400, on_close = on_close }
local sessions = mill.window { name = "sessions", session = 1, keys = 400, on_close = on_close }
local recent = mill.window {
  name = "recent", sliding = 5, keys = 200, samples = 20, percentiles = { 50, 95 },
}
local calm = mill.throttle { name = "calm", per = 10, count = 2, keys = 1000 }
local once = mill.dedupe { within = 30, keys = 1000 }
local level = mill.changed { name = "level", above = 90, hysteresis = 5, keys = 1000 }

local turns = {
  function(key, value) sums:add(key, value) end,
  function(key, value) visits:add(key, value) end,
  function(key, value) sessions:add(key, value) end,
  function(key, value) recent:add(key, value) end,
  function(key) calm:allow(key) end,
  function(key) once:first(key) end,
  function(key, value)
    local change = level:update(key, value)
    if change then rises[change.to] = (rises[change.to] or 0) + 1 end
  end,
}

return {
  subjects = { "sensors.value" },
  on_message = function(msg)
    local reading = msg.data
    turns[reading.time % #turns + 1]("key " .. reading.time // 40, reading.value)
  end,
}
