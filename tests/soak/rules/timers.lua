-- Timers that fire, timers that are cancelled, timers that a reload takes away.
local last, fired = nil, 0
local ticks = mill.state("ticks")

local function fire()
  fired = fired + 1
  mill.publish("ticks.timer", { fired = fired })
end

return {
  subjects = { "jobs.timers" },
  every = {
    { 0.1, function() ticks.count = (ticks.count or 0) + 1 end },
    { 1, function() mill.sleep(0.01) end },
  },
  on_message = function(msg)
    local time = msg.data.time
    local timer = mill.after(0.05 + time % 20 * 0.1, fire)
    if last then last:cancel() end
    last = time % 3 == 0 and timer or nil
    mill.publish("receipts.timers", { time = time })
  end,
}
