-- What a test file has: describe, it, before_each, after_each, expect, and mill.test.
--
--   describe("high_value", function()
--     local rule
--     before_each(function() rule = mill.test("high_value") end)
--
--     it("raises an alert above the limit", function()
--       local published, verdict = rule:send { subject = "sensors.value", data = { value = 95 } }
--       expect(verdict).to.equal("ack")
--       expect(published).to.equal { { subject = "alerts.high", data = { value = 95 } } }
--     end)
--   end)
--
-- docs/rules.md has the whole of it. The chunk is given what it needs from src/rules/testing.c and
-- returns the globals of the test file, the list of tests and the function that runs one of them.
local open_trial, is_array, default_name, filter, json = ...
local error, ipairs, math, next, pairs, pcall = error, ipairs, math, next, pairs, pcall
local setmetatable, string, table, tostring, type = setmetatable, string, table, tostring, type

local current -- what the running test has seen: { logs, faults }

-- --- showing and comparing ----------------------------------------------------------------------

local SHOWN = 240 -- bytes of a value in a message
local DIFFERENCES = 12

local function show(value)
  local kind, text = type(value), nil
  if kind == "table" or kind == "string" or kind == "number" then
    local ok, encoded = pcall(json.encode, kind == "table" and value or { value })
    if ok then text = kind == "table" and encoded or encoded:sub(2, -2) end
  elseif value == json.null then
    text = "null"
  end
  text = text or tostring(value)
  if #text > SHOWN then text = text:sub(1, SHOWN) .. ".." end
  return text
end

local function sorted_keys(a, b)
  local keys, seen = {}, {}
  for _, from in ipairs { a, b } do
    for key in pairs(from) do
      if not seen[key] then
        seen[key] = true
        keys[#keys + 1] = key
      end
    end
  end
  table.sort(keys, function(x, y)
    if math.type(x) and math.type(y) then return x < y end
    if math.type(x) or math.type(y) then return math.type(x) ~= nil end
    return tostring(x) < tostring(y)
  end)
  return keys
end

local function step(path, key)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then return path .. "." .. key end
  return path .. "[" .. show(key) .. "]"
end

-- Collects { path, expected, got } in `found`. `partly`: only what is expected counts.
local function compare(path, expected, actual, partly, found, depth)
  if #found >= DIFFERENCES or depth > 100 then return end
  if type(expected) ~= "table" or type(actual) ~= "table" then
    local same = expected == actual and math.type(expected) == math.type(actual)
    if not same then found[#found + 1] = { path, expected, actual } end
    return
  end
  local empty = next(expected) == nil and next(actual) == nil
  if empty and is_array(expected) ~= is_array(actual) then
    found[#found + 1] = { path, expected, actual }
  end
  for _, key in ipairs(sorted_keys(expected, partly and {} or actual)) do
    compare(step(path, key), expected[key], actual[key], partly, found, depth + 1)
  end
end

local function differences(expected, actual, partly)
  local found = {}
  compare("", expected, actual, partly, found, 0)
  if #found == 0 then return nil end
  local lines = {}
  for i, difference in ipairs(found) do
    local path, wanted, got = difference[1], show(difference[2]), show(difference[3])
    if path == "" then
      lines[i] = string.format("  expected: %s\n  got:      %s", wanted, got)
    else
      lines[i] = string.format("  at %s\n    expected: %s\n    got:      %s",
        path:gsub("^%.", ""), wanted, got)
    end
  end
  if #found >= DIFFERENCES then lines[#lines + 1] = "  and maybe more" end
  return table.concat(lines, "\n")
end

-- --- expect -------------------------------------------------------------------------------------
-- A matcher returns whether it holds and, for when it should have and when it should not have, what
-- to say.

local matchers = {}

function matchers.equal(actual, expected)
  local difference = differences(expected, actual, false)
  return not difference, "not equal\n" .. (difference or ""), "both are " .. show(actual)
end

function matchers.contain(actual, expected)
  if type(actual) == "string" and type(expected) == "string" then
    return actual:find(expected, 1, true) ~= nil,
      string.format("%s does not contain %s", show(actual), show(expected)),
      string.format("%s contains %s", show(actual), show(expected))
  end
  local difference = differences(expected, actual, true)
  return not difference, "not contained\n" .. (difference or ""),
    string.format("%s contains %s", show(actual), show(expected))
end

function matchers.match(actual, pattern)
  return type(actual) == "string" and actual:find(pattern) ~= nil,
    string.format("%s does not match %s", show(actual), show(pattern)),
    string.format("%s matches %s", show(actual), show(pattern))
end

function matchers.near(actual, expected, distance)
  distance = distance or 1e-9
  return math.type(actual) ~= nil and math.abs(actual - expected) <= distance,
    string.format("%s is not within %s of %s", show(actual), show(distance), show(expected)),
    string.format("%s is within %s of %s", show(actual), show(distance), show(expected))
end

function matchers.be_nil(actual)
  return actual == nil, "expected nil, got " .. show(actual), "expected a value, got nil"
end

function matchers.raise(actual, text)
  if type(actual) ~= "function" then return false, "expect(function() .. end) is needed", "" end
  local ok, why = pcall(actual)
  if ok then return false, "no error was raised" end
  why = tostring(why)
  return text == nil or why:find(text, 1, true) ~= nil,
    string.format("the error is %s, not %s", show(why), show(text)),
    "an error was raised: " .. why
end

local function bind(actual, wanted)
  return setmetatable({}, {
    __index = function(_, name)
      local matcher = matchers[name]
      if not matcher then
        error(string.format("expect: '%s' is not one of equal, contain, match, near, be_nil, raise",
          tostring(name)), 2)
      end
      return function(...)
        local holds, missed, held = matcher(actual, ...)
        if holds ~= wanted then error(wanted and missed or held, 2) end
      end
    end,
  })
end

-- expect(rule:send { .. }) gets the verdict too: an error of the rule is not to go unseen.
local function expect(actual, verdict, detail)
  if verdict == "error" and type(actual) == "table" then
    error("the rule raised an error: " .. tostring(detail), 2)
  end
  return { to = bind(actual, true), to_not = bind(actual, false) }
end

-- --- mill.test ----------------------------------------------------------------------------------

-- A payload as a document when it looks like one, else as it is.
local function decode(payload)
  if payload:find("^%s*[%[{]") then
    local ok, data = pcall(json.decode, payload)
    if ok then return data end
  end
  return payload
end

local function encode(data)
  if type(data) == "string" then return data end
  return json.encode(data)
end

local rule = {}
rule.__index = rule
rule.__name = "mill.test"

local message_keys = {
  subject = true, data = true, raw = true, headers = true, delivered = true, time = true,
  sequence = true, stream = true, consumer = true, pending = true,
}

-- What the engine wants, from what the test says.
local function input_of(self, message)
  if type(message) ~= "table" then error("rule:send: a table like { subject = .. } expected", 3) end
  for key in pairs(message) do
    if not message_keys[key] then error("rule:send: unknown key '" .. tostring(key) .. "'", 3) end
  end
  if type(message.subject) ~= "string" then error("rule:send: subject: a string expected", 3) end
  if message.data ~= nil and message.raw ~= nil then error("rule:send: either data or raw", 3) end
  local headers = {}
  for name, value in pairs(message.headers or {}) do headers[name] = tostring(value) end
  local time = message.time or self:now()
  self.sequence = message.sequence or self.sequence + 1
  return {
    subject = message.subject,
    payload = message.raw or (message.data ~= nil and json.encode(message.data)) or "",
    headers = headers,
    stream = message.stream or "test",
    consumer = message.consumer or "test",
    sequence = self.sequence,
    delivered = message.delivered or 1,
    pending = message.pending or 0,
    time_ns = math.floor(time) * 1000000000 + math.floor((time % 1) * 1e9 + 0.5),
  }
end

local function published_of(output)
  local published = {
    subject = output.subject, data = decode(output.payload), headers = output.headers,
    id = output.id, ttl = output.ttl,
  }
  if not output.durable then published.durable = false end
  return setmetatable(published, { __index = { raw = output.payload } }) -- there, but not compared
end

-- The callbacks of a trial.
local function finished(self, input, verdict, detail, outputs)
  for i = 1, #outputs do self.published[#self.published + 1] = published_of(outputs[i]) end
  if verdict == "error" then
    current.faults[#current.faults + 1] =
      string.format("%s: %s", input and input.subject or "timer", detail)
  end
  if not input then
    if verdict == "error" then self.fault = detail end
    return
  end
  if verdict == "reject" then detail = detail:gsub("^[^:]+:%d+: ", "", 1) end
  input.verdict, input.detail = verdict, detail
  self.settled[#self.settled + 1] =
    { sequence = input.sequence, verdict = verdict, detail = detail }
end

local function request(self, subject, payload)
  local data = decode(payload)
  self.requests[#self.requests + 1] = { subject = subject, data = data }
  local answer = self.answers[subject]
  if answer == nil then return nil, "no responders" end
  if answer == false then return false end
  local why
  if type(answer) == "function" then answer, why = answer(data, subject) end
  if answer == nil then return nil, why or "no responders" end
  return encode(answer)
end

-- --- key-value buckets, in memory ---------------------------------------------------------------

local bucket = {}
bucket.__index = bucket

function bucket:get(key)
  local entry = self.entries[key]
  if entry then return decode(entry.value), entry.revision end
end

function bucket:put(key, value)
  self.revision = self.revision + 1
  self.entries[key] = { value = encode(value), revision = self.revision }
  return self.revision
end

function bucket:delete(key)
  self.revision = self.revision + 1
  self.entries[key] = nil
end

function rule:kv(name)
  if not self.buckets[name] then
    self.buckets[name] = setmetatable({ entries = {}, revision = 0 }, bucket)
  end
  return self.buckets[name]
end

-- As a server would answer: an error, a value, a revision.
local function kv(self, operation, name, key, value, revision)
  local one = self:kv(name)
  local entry = key and one.entries[key]
  if operation == "get" then
    if not entry then return nil, nil, 0 end
    return nil, entry.value, entry.revision
  elseif operation == "keys" then
    local keys = {}
    for each in pairs(one.entries) do keys[#keys + 1] = each .. "\n" end
    table.sort(keys)
    return nil, table.concat(keys), 0
  elseif operation == "delete" then
    return nil, nil, one:delete(key) or 0
  elseif operation == "create" and entry then
    return "exists", nil, 0
  elseif operation == "update" and (entry and entry.revision or 0) ~= revision then
    return "wrong revision", nil, 0
  end
  return nil, nil, one:put(key, value)
end

-- --- what a test does with a rule ---------------------------------------------------------------

-- Calls a method of the trial. Returns what was published and settled meanwhile. Errors are told at
-- the line of the test, which is `level` calls away.
local function work(self, level, method, ...)
  self.published, self.settled, self.fault = {}, {}, nil
  local ok, result = pcall(self.trial[method], self.trial, ...)
  if not ok then error(result, level) end
  if self.fault then error("a timer of the rule raised an error: " .. self.fault, level) end
  return self.published, self.settled, result
end

local function send(self, input)
  local published, _, wanted = work(self, 4, "send", input)
  self.last = input
  return published, input.verdict or (wanted and "waiting" or "unmatched"), input.detail
end

-- Hands the rule a message. Returns the list of what it published, and the verdict: "ack", "retry"
-- and the seconds, "reject" and the reason, "error" and the message, "waiting" when the handler
-- waits, or "unmatched" when the rule does not want the subject.
function rule:send(message)
  local published, verdict, detail = send(self, input_of(self, message))
  return published, verdict, detail
end

-- The last message once more, as after a nak.
function rule:redeliver()
  if not self.last then error("rule:redeliver: nothing was sent yet", 2) end
  local input = {}
  for key, value in pairs(self.last) do input[key] = value end
  input.delivered, input.verdict, input.detail = input.delivered + 1, nil, nil
  local published, verdict, detail = send(self, input)
  return published, verdict, detail
end

-- Moves the clock. Returns what was published meanwhile and the list of the messages settled, each
-- { sequence, verdict, detail }.
function rule:advance(seconds)
  local published, settled = work(self, 3, "advance", seconds)
  return published, settled
end

-- Loads the rule's file again, as a SIGHUP would; mill.state goes over.
function rule:reload()
  local published, settled = work(self, 3, "reload")
  return published, settled
end

-- What mill.request(subject, ..) gets: a string, a table (as JSON), or a function of the request's
-- data and subject that returns one of these or nil and an error; false: no answer ever comes.
function rule:answer(subject, answer)
  self.answers[subject] = answer
end

function rule:now() return self.trial:now() end

local function load_rule(name)
  local self = setmetatable({
    published = {}, settled = {}, requests = {}, log = {}, answers = {}, buckets = {}, sequence = 0,
  }, rule)
  local ok, trial = pcall(open_trial, name or default_name, {
    finished = function(...) return finished(self, ...) end,
    request = function(...) return request(self, ...) end,
    kv = function(...) return kv(self, ...) end,
    log = function(level, text)
      self.log[#self.log + 1] = { level = level, text = text }
      current.logs[#current.logs + 1] = level .. ": " .. text
    end,
  })
  if not ok then error(trial, 2) end
  self.trial = trial
  return self
end

-- --- describe and it ----------------------------------------------------------------------------

local tests = {} -- each { name, failure or false, skipped, suite =, body = }
local suite = { before = {}, after = {} }
local running = false

local function register(what, name, body)
  if running then error(what .. ": not inside a test", 3) end
  if type(name) ~= "string" then error(what .. ": a name expected", 3) end
  if body ~= nil and type(body) ~= "function" then error(what .. ": a function expected", 3) end
  return suite.name and suite.name .. " " .. name or name
end

local function describe(name, body)
  local full = register("describe", name, body)
  local outer = suite
  suite = { name = full, outer = outer, before = {}, after = {} }
  body()
  suite = outer
end

-- Whether the filter, a Lua pattern or plain text, lets a name through.
local function is_wanted(name)
  if not filter or name:find(filter, 1, true) then return true end
  local ok, place = pcall(string.find, name, filter)
  return ok and place ~= nil
end

-- A test without a function is one still to be written.
local function it(name, body)
  local full = register("it", name, body)
  if is_wanted(full) then
    tests[#tests + 1] = { full, false, body == nil, suite = suite, body = body }
  end
end

local function before_each(body)
  register("before_each", "", body)
  table.insert(suite.before, body)
end

local function after_each(body)
  register("after_each", "", body)
  table.insert(suite.after, body)
end

local function before(of)
  if of.outer then before(of.outer) end
  for _, body in ipairs(of.before) do body() end
end

local function explain(why)
  local lines = { tostring(why) }
  for _, fault in ipairs(current.faults) do
    if not lines[1]:find(fault, 1, true) then lines[#lines + 1] = "the rule failed at " .. fault end
  end
  for i = 1, math.min(#current.logs, 10) do lines[#lines + 1] = "log " .. current.logs[i] end
  return table.concat(lines, "\n")
end

local function run(index)
  local test = tests[index]
  current, running = { logs = {}, faults = {} }, true
  local ok, why = pcall(function()
    before(test.suite)
    test.body()
  end)
  local from = test.suite
  while from do
    for _, body in ipairs(from.after) do
      local after_ok, after_why = pcall(body)
      if ok and not after_ok then ok, why = false, after_why end
    end
    from = from.outer
  end
  if not ok then test[2] = explain(why) end
end

current = { logs = {}, faults = {} }
return {
  describe = describe, it = it, before_each = before_each, after_each = after_each,
  expect = expect,
  mill = { test = load_rule, json = json },
}, tests, run
