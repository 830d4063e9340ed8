-- mill.window: counts and averages over time, per key.
--
--   local minute = mill.window {
--     tumbling = 60,
--     on_close = function(w)
--       mill.publish("stats.minute", { sensor_id = w.key, mean = w.mean, from = w.from })
--     end,
--   }
--
--   minute:add(reading.sensor_id, reading.value, reading.time / 1000)
--
-- One of these says which kind it is; all times are seconds:
--
--   tumbling = n    one window after the other, each n long, aligned to 1970
--   sliding = n     always the last n seconds of a key
--   session = n     as long as values come; over when none has come for n
--
-- The others may be left out:
--
--   on_close(w)     called with each tumbling window or session that is over
--   lateness        how long after its end a window still takes late values; 0
--   percentiles     { 50, 95 }: adds w.p50 and w.p95
--   samples         values kept per window for percentiles, 500; and per key for sliding ones, 100.
--                   Beyond, percentiles come from an even sample, and values leave a sliding window
--                   together, up to 2 / samples of it early
--   keys            how many keys are remembered at least; 10000. The windows of a key that has to
--                   go for others are closed early
--   name            survives reloads under this name; without one it starts anew
--
--   window:add(key, value [, time])
--       takes a number in. With a time (of the event, in seconds since 1970) windows are those of
--       event time, without one those of arrival. Returns the window the value is in, as it is now;
--       or nil and "late" when it came too late to count
--   window:get(key)
--       the key's latest window as it is now, or nil
--
-- A window is a plain table: key, from, to, count, sum, mean, min, max, last, and the percentiles.
-- From and to of a session are the times of its first and last value.
--
-- Each key has a clock of its own: the time of its newest value, going on from there. A sensor
-- whose clock is wrong closes nobody else's windows; old messages that are worked off in a hurry
-- count as if they had come in time. What is over is closed by the next value of the key, or by a
-- timer at most a tenth of the window (10 s) later.
--
-- A message that is delivered again is not counted again; the windows it had closed are closed once
-- more.
local embedded, message = ...
local keyed = embedded("keyed")
local error, ipairs, math, next, pairs = error, ipairs, math, next, pairs
local setmetatable, string, table, type = setmetatable, string, table, type

local what = "mill.window"
local MESSAGES = 4096 -- how many messages are remembered, to know them when they come again
local window = {}
window.__index = window
window.__name = what

-- Integers stay integers as long as their sum fits.
local BIG = 1 << 62
local function plus(a, b)
  if a > BIG or b > BIG or a < -BIG or b < -BIG then return a + 0.0 + b end
  return a + b
end

-- --- a tumbling window or a session under way ---------------------------------------------------

-- The values kept for percentiles are sorted. Puts one in.
local function insert_value(values, value)
  local low, high = 1, #values + 1
  while low < high do
    local middle = (low + high) // 2
    if values[middle] <= value then low = middle + 1 else high = middle end
  end
  table.insert(values, low, value)
end

-- Keeps every second value, and from now on takes in only every second of those that come.
local function thin(open)
  local values, kept = open.values, {}
  for i = 2, #values, 2 do kept[#kept + 1] = values[i] end
  open.values, open.step = kept, open.step * 2
end

local function take(self, open, value, time)
  open.count = open.count + 1
  open.sum = plus(open.sum, value)
  if value < open.min then open.min = value end
  if value > open.max then open.max = value end
  if time >= open.at then open.last, open.at = value, time end
  if open.values and open.count % open.step == 0 then
    insert_value(open.values, value)
    if #open.values > self.samples then thin(open) end
  end
end

local function begin(self, from, to, value, time)
  local open = { from = from, to = to, count = 0, sum = 0, min = value, max = value, last = value,
    at = time }
  if self.percentiles then open.values, open.step = {}, 1 end
  return open
end

-- Two sessions that a late value has joined.
local function join(self, a, b)
  a.from, a.to = math.min(a.from, b.from), math.max(a.to, b.to)
  a.count, a.sum = a.count + b.count, plus(a.sum, b.sum)
  a.min, a.max = math.min(a.min, b.min), math.max(a.max, b.max)
  if b.at >= a.at then a.last, a.at = b.last, b.at end
  if a.values then
    while a.step < b.step do thin(a) end
    while b.step < a.step do thin(b) end
    for i = 1, #b.values do insert_value(a.values, b.values[i]) end
    if #a.values > self.samples then thin(a) end
  end
end

-- --- what the rule gets to see ------------------------------------------------------------------

-- Percentiles by nearest rank: the smallest value with so much of the values at or below it.
local function add_percentiles(self, result, sorted)
  for _, percent in ipairs(self.percentiles) do
    local place = math.ceil(#sorted * percent / 100 - 1e-9)
    result["p" .. percent] = sorted[math.max(place, 1)] or result.last
  end
end

-- The same for a list of { value, weight }.
local function add_weighted_percentiles(self, result, weighted, total)
  table.sort(weighted, function(a, b) return a[1] < b[1] end)
  for _, percent in ipairs(self.percentiles) do
    local place, sum = 0, 0
    repeat
      place = place + 1
      sum = sum + weighted[place][2]
    until sum >= total * percent / 100 - 1e-9 or place == #weighted
    result["p" .. percent] = weighted[place][1]
  end
end

local function result_of(self, key, open)
  local result = {
    key = key, from = open.from, to = open.to, count = open.count, sum = open.sum,
    mean = open.sum / open.count, min = open.min, max = open.max, last = open.last,
  }
  if self.percentiles then add_percentiles(self, result, open.values) end
  return result
end

-- --- tumbling windows and sessions --------------------------------------------------------------
-- An entry: newest and seen (the key's clock), open (a list, the earliest first), closed (the end
-- of the latest that is over).

-- The time on a key's clock.
local function clock_of(entry, now)
  return entry.newest + math.max(0, now - entry.seen)
end

-- When a window is over for good.
local function end_of(self, open)
  return open.to + (self.session or 0) + self.lateness
end

-- Moves what is over at `clock` from the entry to the list `over`.
local function close(self, key, entry, clock, over)
  while entry.open[1] and clock >= end_of(self, entry.open[1]) do
    local open = table.remove(entry.open, 1)
    entry.closed = math.max(entry.closed or open.to, open.to)
    over[#over + 1] = result_of(self, key, open)
  end
end

local function insert(list, open)
  local place = #list + 1
  while place > 1 and list[place - 1].from > open.from do place = place - 1 end
  table.insert(list, place, open)
end

local function add_tumbling(self, entry, value, time)
  local from = math.floor(time / self.tumbling) * self.tumbling
  local to = from + self.tumbling
  if (entry.closed and to <= entry.closed) or to + self.lateness <= entry.newest then return nil end
  local open
  for i = #entry.open, 1, -1 do
    if entry.open[i].from == from then open = entry.open[i] end
  end
  if not open then
    open = begin(self, from, to, value, time)
    insert(entry.open, open)
  end
  take(self, open, value, time)
  return open
end

local function add_session(self, entry, value, time)
  local gap, list = self.session, entry.open
  if (entry.closed and time < entry.closed + gap) or
    time + gap + self.lateness <= entry.newest then return nil end
  local open
  for i = #list, 1, -1 do
    local other = list[i]
    if time > other.from - gap and time < other.to + gap then
      if open then
        join(self, other, open)
        table.remove(list, i + 1)
      end
      open = other
      open.from, open.to = math.min(open.from, time), math.max(open.to, time)
    end
  end
  if not open then
    open = begin(self, time, time, value, time)
    insert(list, open)
  end
  take(self, open, value, time)
  return open
end

local function add_to_open(self, key, entry, value, time, over)
  local open = (self.tumbling and add_tumbling or add_session)(self, entry, value, time)
  local result = open and result_of(self, key, open)
  close(self, key, entry, entry.newest, over)
  return result
end

-- --- sliding windows ----------------------------------------------------------------------------
-- An entry has no `open` but `log`: the values in the order of their times, six numbers each. When
-- there are more than `samples`, those of one pane (2 / samples of the window) become one with the
-- time of the first of them.
local FIELDS = 6 -- time, count, sum, min, max, last

-- Drops what is not newer than `over`.
local function forget(entry, over)
  local log, first = entry.log, 1
  while log[first] and log[first] <= over do first = first + FIELDS end
  if first == 1 then return end
  local size = #log
  table.move(log, first, size, 1)
  for i = size, size - first + 2, -1 do log[i] = nil end
end

local function coalesce(log, pane)
  local made, at, last_pane = {}, 1 - FIELDS, nil
  for i = 1, #log, FIELDS do
    local this_pane = log[i] // pane
    if this_pane ~= last_pane then
      at, last_pane = at + FIELDS, this_pane
      table.move(log, i, i + FIELDS - 1, at, made)
    else
      made[at + 1] = made[at + 1] + log[i + 1]
      made[at + 2] = plus(made[at + 2], log[i + 2])
      made[at + 3] = math.min(made[at + 3], log[i + 3])
      made[at + 4] = math.max(made[at + 4], log[i + 4])
      made[at + 5] = log[i + 5]
    end
  end
  return made
end

local function add_log_percentiles(self, result, log)
  local list, coarse = {}, result.count > #log // FIELDS
  for i = 1, #log, FIELDS do
    list[#list + 1] = coarse and { log[i + 5], log[i + 1] } or log[i + 5]
  end
  if coarse then return add_weighted_percentiles(self, result, list, result.count) end
  table.sort(list)
  add_percentiles(self, result, list)
end

local function log_result(self, key, entry, clock)
  local log = entry.log
  if not log[1] then return nil end
  local count, sum, min, max = 0, 0, log[4], log[5]
  for i = 1, #log, FIELDS do
    count, sum = count + log[i + 1], plus(sum, log[i + 2])
    if log[i + 3] < min then min = log[i + 3] end
    if log[i + 4] > max then max = log[i + 4] end
  end
  local result = {
    key = key, from = clock - self.sliding, to = clock, count = count, sum = sum,
    mean = sum / count, min = min, max = max, last = log[#log],
  }
  if self.percentiles then add_log_percentiles(self, result, log) end
  return result
end

local function add_to_log(self, key, entry, value, time)
  local log = entry.log
  if time <= entry.newest - self.sliding then return nil end
  local place = #log + 1
  while place > 1 and log[place - FIELDS] > time do place = place - FIELDS end
  if place <= #log then table.move(log, place, #log, place + FIELDS) end
  log[place], log[place + 1], log[place + 2] = time, 1, value
  log[place + 3], log[place + 4], log[place + 5] = value, value, value
  forget(entry, entry.newest - self.sliding)
  if #log > self.samples * FIELDS then
    entry.log = coalesce(log, self.sliding * 2 / self.samples)
  end
  return log_result(self, key, entry, entry.newest)
end

-- --- the state ----------------------------------------------------------------------------------

local function ready(self)
  local state = self.state
  if state.shape == self.shape then return state end
  keyed.ready(state, self.shape)
  state.messages = {}
  keyed.ready(state.messages, "messages")
  return state
end

-- Closes the windows of keys that had to go for others.
local function close_gone(self, gone, over)
  for key, entry in next, gone or {} do
    if entry.open then close(self, key, entry, math.huge, over) end
  end
end

local function entry_of(self, state, key, time, now, over)
  local entry, gone = keyed.get(state, key, self.keys)
  if not entry then
    entry = { newest = time, seen = now }
    if self.sliding then entry.log = {} else entry.open = {} end
    gone = keyed.put(state, key, entry, self.keys)
  elseif time >= entry.newest then
    entry.newest, entry.seen = time, now
  end
  close_gone(self, gone, over)
  return entry
end

-- The record of what the message under way has added: { delivery, place, adds, closed }. `closed`
-- has, by the number of the add, the windows that it closed. nil outside of messages.
local function record_of(state)
  local id, delivered = message()
  if not id then return nil end
  local record = keyed.get(state.messages, id, MESSAGES)
  if not record then
    record = { delivery = delivered, place = 0, adds = 0 }
    keyed.put(state.messages, id, record, MESSAGES)
  elseif record.delivery ~= delivered then
    record.delivery, record.place = delivered, 0 -- it is here again: goes through the same adds
  end
  record.place = record.place + 1
  return record
end

local function report(self, over)
  for i = 1, #over do self.on_close(over[i]) end
end

-- --- methods ------------------------------------------------------------------------------------

function window:add(key, value, time)
  keyed.check_key("window:add", key)
  if math.type(value) == nil or value ~= value then
    error(string.format("window:add: the value must be a number, got %s", type(value)), 2)
  end
  time = keyed.check_time("window:add", time)
  local state, now = ready(self), mill.now()
  local record = record_of(state)
  if record and record.place <= record.adds then
    if record.closed then report(self, record.closed[record.place] or {}) end
    return self:get(key)
  end
  local over = {}
  local entry = entry_of(self, state, key, time, now, over)
  local result
  if self.sliding then
    result = add_to_log(self, key, entry, value, time)
  else
    result = add_to_open(self, key, entry, value, time, over)
  end
  if record then
    record.adds = record.place
    if self.on_close and #over > 0 then
      record.closed = record.closed or {}
      record.closed[record.place] = over
    end
  end
  if self.on_close then report(self, over) end
  if not result then return nil, "late" end
  return result
end

function window:get(key)
  keyed.check_key("window:get", key)
  local state = ready(self)
  local entry = state.young[key] or state.old[key]
  if not entry then return nil end
  local clock = clock_of(entry, mill.now())
  if self.sliding then
    forget(entry, clock - self.sliding)
    return log_result(self, key, entry, clock)
  end
  local open = entry.open[#entry.open]
  return open and clock < end_of(self, open) and result_of(self, key, open) or nil
end

-- The timer: closes what is over for keys that have fallen silent, and forgets them a while later.
local function close_silent(self)
  local state, now, over = ready(self), mill.now(), {}
  for _, entries in ipairs { state.young, state.old } do
    local silent = {}
    for key, entry in pairs(entries) do
      close(self, key, entry, clock_of(entry, now), over)
      if not entry.open[1] and now - entry.seen > self.memory then silent[#silent + 1] = key end
    end
    for i = 1, #silent do keyed.remove(state, silent[i]) end
  end
  report(self, over)
end

-- --- options ------------------------------------------------------------------------------------

local function check_percentiles(list)
  if type(list) ~= "table" or #list == 0 then
    error(what .. ": percentiles: a list like { 50, 95 } expected", 4)
  end
  local copy = {}
  for i, percent in ipairs(list) do
    if math.type(percent) == nil or not (percent > 0 and percent <= 100) then
      error(what .. ": percentiles: numbers above 0 and up to 100 expected", 4)
    end
    copy[i] = percent
  end
  return copy
end

local function check_kind(spec)
  local kind
  for _, name in ipairs { "tumbling", "sliding", "session" } do
    if spec[name] ~= nil then
      if kind then error(string.format("%s: either %s or %s", what, kind, name), 4) end
      kind = name
    end
  end
  if not kind then error(what .. ": tumbling, sliding or session is missing (seconds)", 4) end
  if kind == "sliding" and (spec.on_close ~= nil or spec.lateness ~= nil) then
    error(what .. ": on_close and lateness: not for sliding windows, which never close", 4)
  end
  if spec.on_close ~= nil and type(spec.on_close) ~= "function" then
    error(what .. ": on_close: a function expected", 4)
  end
  return kind
end

return function(spec)
  keyed.options(what, spec, { "tumbling", "sliding", "session", "on_close", "lateness",
    "percentiles", "samples", "keys", "name" })
  local kind = check_kind(spec)
  local size = keyed.number(what, spec, kind, 0.001, 1e9)
  local self = setmetatable({
    [kind] = size,
    on_close = spec.on_close,
    lateness = keyed.number(what, spec, "lateness", 0, 1e9, 0),
    percentiles = spec.percentiles and check_percentiles(spec.percentiles),
    samples = keyed.whole(what, spec, "samples", 10, 1000000, kind == "sliding" and 100 or 500),
    keys = keyed.whole(what, spec, "keys", 1, 10000000, 10000),
  }, window)
  self.memory = 2 * size + self.lateness
  self.shape = string.format("%s %s%s", kind, size, self.percentiles and " values" or "")
  self.state = keyed.table(what, spec.name)
  if self.on_close then
    mill.every(math.max(0.01, math.min(size / 10, 10)), function() close_silent(self) end)
  end
  return self
end
