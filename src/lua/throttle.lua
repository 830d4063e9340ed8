-- mill.throttle: lets through at most so many per key and time.
--
--   local throttle = mill.throttle { per = 60 }          -- one a minute and key; count = 5: five
--
--   if throttle:allow(reading.sensor_id) then mill.publish("alerts.high", alert) end
--
--   per      seconds
--   count    how many in any stretch of `per` seconds; 1 when not given, at most 1000
--   keys     how many keys are remembered at least; 10000 when not given
--   name     survives reloads under this name; without one it starts anew
--
--   throttle:allow(key [, time])   true, or false and the seconds until it will be true. `time` in
--                                  seconds since 1970; the time of arrival when not given
--
-- A message that is delivered again does not stand in its own way: what it had been allowed before
-- is taken back first.
local embedded, message = ...
local keyed = embedded("keyed")
local setmetatable, table = setmetatable, table

local what = "mill.throttle"
local throttle = {}
throttle.__index = throttle
throttle.__name = what

-- An entry is a list of grants, the oldest first: time, message, delivery, time, message, ..
local FIELDS = 3

-- Takes out the grants that are over, and those of an earlier delivery of this message.
local function prune(entry, over, id, delivered)
  local kept = 0
  for i = 1, #entry, FIELDS do
    local again = id and entry[i + 1] == id and entry[i + 2] ~= delivered
    if entry[i] > over and not again then
      table.move(entry, i, i + FIELDS - 1, kept + 1)
      kept = kept + FIELDS
    end
  end
  for i = #entry, kept + 1, -1 do entry[i] = nil end
end

function throttle:allow(key, time)
  keyed.check_key("throttle:allow", key)
  time = keyed.check_time("throttle:allow", time)
  local state, per = self.state, self.per
  keyed.ready(state, "throttle")
  local id, delivered = message()
  local entry = keyed.get(state, key, self.keys)
  if entry then
    prune(entry, time - per, id, delivered)
  else
    entry = {}
    keyed.put(state, key, entry, self.keys)
  end
  local grants = #entry // FIELDS
  if grants >= self.count then
    return false, entry[(grants - self.count) * FIELDS + 1] + per - time
  end
  local at = #entry
  entry[at + 1], entry[at + 2], entry[at + 3] = time, id or false, delivered or 0
  return true
end

return function(spec)
  keyed.options(what, spec, { "per", "count", "keys", "name" })
  return setmetatable({
    per = keyed.number(what, spec, "per", 0.001, 1e9),
    count = keyed.whole(what, spec, "count", 1, 1000, 1),
    keys = keyed.whole(what, spec, "keys", 1, 10000000, 10000),
    state = keyed.table(what, spec.name),
  }, throttle)
end
