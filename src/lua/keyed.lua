-- What the helpers share: options, and bounded tables of something per key.
--
-- A keyed table is plain data, so that mill.state can carry it over a reload:
--
--   { shape = "tumbling 60", young = { key = value }, old = { key = value }, count = n }
--
-- It holds at least the `max` keys used last and at most twice as many: when `young` is full it
-- becomes `old`, and what was old and has not been used since goes. `shape` says what the values
-- are; a table of another shape (the rule's options were changed before a reload) starts anew.
local error, math, pairs, string, table, type = error, math, pairs, string, table, type

local keyed = {}

-- The table on which a helper works. Without a name it lives until the next reload.
local names = {}
function keyed.table(what, name)
  if name == nil then return {} end
  if type(name) ~= "string" or name == "" then
    error(what .. ": name: a string expected", 4)
  end
  local full = what:gsub("^mill%.", "") .. ":" .. name
  if names[full] then
    error(string.format("%s: the name '%s' is taken in this rule (make it once, at the " ..
      "top of the file)", what, name), 4)
  end
  names[full] = true
  return mill.state(full)
end

-- Checks that `spec` is a table with no keys but those in the list `known`.
function keyed.options(what, spec, known)
  if type(spec) ~= "table" then
    error(string.format("%s: a table of options expected, got %s", what, type(spec)), 4)
  end
  for key in pairs(spec) do
    local found = false
    for i = 1, #known do found = found or known[i] == key end
    if not found then
      error(string.format("%s: unknown option '%s' (known: %s)", what, tostring(key),
        table.concat(known, ", ")), 4)
    end
  end
end

-- A number option between two bounds. `otherwise` when it is not given; nil: it must be.
function keyed.number(what, spec, name, least, most, otherwise)
  local value = spec[name]
  if value == nil then value = otherwise end
  if math.type(value) == nil or not (value >= least and value <= most) then
    error(string.format("%s: %s: a number from %s to %s expected, got %s", what, name, least, most,
      value == nil and "nothing" or tostring(value)), 4)
  end
  return value
end

-- The same for whole numbers.
function keyed.whole(what, spec, name, least, most, otherwise)
  local value = spec[name]
  if value == nil then value = otherwise end
  if math.type(value) ~= "integer" or value < least or value > most then
    error(string.format("%s: %s: a whole number from %d to %d expected, got %s", what, name, least,
      most, tostring(value)), 4)
  end
  return value
end

-- A key that may stand in a keyed table: a string, number or boolean.
function keyed.check_key(what, key)
  local kind = type(key)
  if kind == "string" or kind == "boolean" or (kind == "number" and key == key) then return end
  error(string.format("%s: the key must be a string, number or boolean, got %s", what,
    kind == "number" and "nan" or kind), 3)
end

-- A time in seconds; nil: the time of arrival.
function keyed.check_time(what, time)
  if time == nil then return mill.now() end
  if math.type(time) == nil or time ~= time or time == math.huge or time == -math.huge then
    error(string.format("%s: the time must be seconds since 1970, got %s", what, tostring(time)), 3)
  end
  return time
end

-- Makes `state` fit for use; cheap when it is.
function keyed.ready(state, shape)
  if state.shape == shape then return end
  for key in pairs(state) do state[key] = nil end
  state.shape, state.young, state.old, state.count = shape, {}, {}, 0
end

-- Puts a value. Returns the table of what had to go, or nil.
function keyed.put(state, key, value, max)
  local gone
  if state.young[key] == nil then
    if state.count >= max then
      gone, state.old, state.young, state.count = state.old, state.young, {}, 0
      gone[key] = nil
    end
    state.old[key] = nil
    state.count = state.count + 1
  end
  state.young[key] = value
  return gone
end

-- The value of a key, or nil; and, when fetching it made it young again, what had to go for that.
function keyed.get(state, key, max)
  local value = state.young[key]
  if value ~= nil then return value end
  value = state.old[key]
  if value == nil then return nil end
  return value, keyed.put(state, key, value, max)
end

function keyed.remove(state, key)
  if state.young[key] ~= nil then
    state.young[key] = nil
    state.count = state.count - 1
  end
  state.old[key] = nil
end

return keyed
