-- mill.dedupe: tells the first of equal things from those that follow.
--
--   local orders = mill.dedupe { within = 300 }
--
--   if not orders:first(msg.data.order_id) then return end   -- seen in the last five minutes
--
--   within   seconds, counted from the first one
--   keys     how many keys are remembered at least; 10000 when not given
--   name     survives reloads under this name; without one it starts anew
--
--   dedupe:first(key [, time])   whether this message is the first with that key. `time` in seconds
--                                since 1970; the time of arrival when not given
--
-- The message that was the first stays the first: also when it is delivered again, and when it asks
-- twice.
local embedded, message = ...
local keyed = embedded("keyed")
local setmetatable = setmetatable

local what = "mill.dedupe"
local dedupe = {}
dedupe.__index = dedupe
dedupe.__name = what

function dedupe:first(key, time)
  keyed.check_key("dedupe:first", key)
  time = keyed.check_time("dedupe:first", time)
  local state = self.state
  keyed.ready(state, "dedupe")
  local id = message()
  local seen = keyed.get(state, key, self.keys)
  if seen and time - seen[1] < self.within then return id ~= nil and seen[2] == id end
  keyed.put(state, key, { time, id or false }, self.keys)
  return true
end

return function(spec)
  keyed.options(what, spec, { "within", "keys", "name" })
  return setmetatable({
    within = keyed.number(what, spec, "within", 0.001, 1e9),
    keys = keyed.whole(what, spec, "keys", 1, 10000000, 10000),
    state = keyed.table(what, spec.name),
  }, dedupe)
end
