-- mill.changed: says when a value has changed, or has crossed a limit.
--
--   local level = mill.changed { above = 90, below = 10, hysteresis = 5 }
--
--   local change = level:update(reading.sensor_id, reading.value)
--   if change then mill.publish("alerts." .. change.to, { from = change.from }) end
--
-- With `above` or `below` (or both) the value is a number, and what changes is its level: "high"
-- when it is greater than `above`, "low" when it is less than `below`, else "normal", which is
-- where each key begins.
--
--   above, below   the limits
--   hysteresis     how far the value must come back to be normal again; 0 when not given
--
-- Without limits any string, number, boolean or JSON null will do, and the first value of a key is
-- no change.
--
--   by             numbers only: less than this, from what was reported last, is no change
--
-- For both:
--
--   keys           how many keys are remembered at least; 10000 when not given
--   name           survives reloads under this name; without one it starts anew
--
--   changed:update(key, value)   a table with key, from and to when there is a change, else nil
--
-- A message that is delivered again is compared with what was there before it, and so tells the
-- same change again.
local embedded, message = ...
local keyed = embedded("keyed")
local error, math, setmetatable, string, type = error, math, setmetatable, string, type

local what = "mill.changed"
local changed = {}
changed.__index = changed
changed.__name = what

-- The level of a value for a key that was at `level` until now.
local function level_of(self, value, level)
  local above, below, back = self.above, self.below, self.hysteresis
  if above and (value > above or (level == "high" and value > above - back)) then return "high" end
  if below and (value < below or (level == "low" and value < below + back)) then return "low" end
  return "normal"
end

local function check_value(self, value)
  local kind = type(value)
  local number = kind == "number" and value == value
  if self.above or self.below or self.by then
    if not number then
      error(string.format("changed:update: the value must be a number, got %s", kind), 3)
    end
  elseif not number and kind ~= "string" and kind ~= "boolean" and value ~= mill.json.null then
    error(string.format("changed:update: a %s cannot be compared", kind), 3)
  end
end

-- What is kept of the value: its level, or itself.
local function judge(self, value, before)
  if self.above or self.below then return level_of(self, value, before) end
  if self.by and before ~= nil and math.abs(value - before) < self.by then return before end
  return value
end

-- An entry is { now, before, message, delivery }: `before` is what was there before that message.
function changed:update(key, value)
  keyed.check_key("changed:update", key)
  check_value(self, value)
  local state, limits = self.state, self.above or self.below
  keyed.ready(state, self.shape)
  local id, delivered = message()
  local entry = keyed.get(state, key, self.keys)
  if not entry then
    entry = {}
    if limits then entry.now = "normal" end
    keyed.put(state, key, entry, self.keys)
  end
  if id and entry.message == id then
    if entry.delivery ~= delivered then entry.now = entry.before end
  else
    entry.before, entry.message = entry.now, id
  end
  entry.delivery = delivered
  local before = entry.now
  entry.now = judge(self, value, before)
  if before == nil or entry.now == before then return nil end
  return { key = key, from = before, to = entry.now }
end

return function(spec)
  keyed.options(what, spec, { "above", "below", "hysteresis", "by", "keys", "name" })
  local limits = spec.above ~= nil or spec.below ~= nil
  local huge = math.huge
  local self = {
    above = spec.above and keyed.number(what, spec, "above", -huge, huge),
    below = spec.below and keyed.number(what, spec, "below", -huge, huge),
    hysteresis = keyed.number(what, spec, "hysteresis", 0, huge, 0),
    by = spec.by and keyed.number(what, spec, "by", 0, huge),
    keys = keyed.whole(what, spec, "keys", 1, 10000000, 10000),
  }
  if limits and self.by then error(what .. ": by: for values without above and below", 3) end
  if spec.hysteresis ~= nil and not limits then
    error(what .. ": hysteresis: above or below is missing", 3)
  end
  if self.above and self.below and self.below + self.hysteresis > self.above - self.hysteresis then
    error(what .. ": above, below, hysteresis: nothing between them is normal", 3)
  end
  self.shape = limits and "levels" or "values"
  self.state = keyed.table(what, spec.name)
  return setmetatable(self, changed)
end
