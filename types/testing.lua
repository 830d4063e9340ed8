---@meta
-- What test files (*_test.lua) have besides, for lua-language-server.

---A message for a rule: `data` or `raw`.
---@class tidemill.TestMessage
---@field subject string
---@field data? any becomes JSON
---@field raw? string the payload as it is
---@field headers? table<string, string|number>
---@field sequence? integer one more than the last when not given
---@field delivered? integer 1 when not given
---@field time? number seconds since 1970; the test's clock when not given
---@field stream? string
---@field consumer? string
---@field pending? integer

---@class tidemill.Published
---@field subject string
---@field data any decoded JSON, or the payload
---@field raw string the payload; takes no part in comparisons
---@field headers? table<string, string>
---@field id? string
---@field ttl? number
---@field durable? boolean

---@alias tidemill.Verdict "ack"|"retry"|"reject"|"error"|"waiting"|"unmatched"

---@class tidemill.Settled
---@field sequence integer
---@field verdict tidemill.Verdict
---@field detail? string|number

---A bucket in memory.
---@class tidemill.TestBucket
local bucket = {}

---@param key string
---@return any value
---@return integer? revision
function bucket:get(key) end

---@param key string
---@param value table|string
---@return integer revision
function bucket:put(key, value) end

---@param key string
function bucket:delete(key) end

---A rule, alone in an engine whose clock stands still until it is told to move.
---@class tidemill.TestRule
---@field log { level: string, text: string }[]
---@field requests { subject: string, data: any }[]
local rule = {}

---Hands the rule a message.
---@param message tidemill.TestMessage
---@return tidemill.Published[] published
---@return tidemill.Verdict verdict
---@return (string|number)? detail
function rule:send(message) end

---The last message once more, as after a nak.
---@return tidemill.Published[] published
---@return tidemill.Verdict verdict
---@return (string|number)? detail
function rule:redeliver() end

---Moves the clock: timers run and sleepers wake, each at its time.
---@param seconds number
---@return tidemill.Published[] published
---@return tidemill.Settled[] settled
function rule:advance(seconds) end

---Loads the file again; mill.state goes over.
---@return tidemill.Published[] published
---@return tidemill.Settled[] settled
function rule:reload() end

---What mill.request gets; false: no answer ever.
---@param subject string
---@param answer string|table|false|fun(data: any, subject: string): any, string?
function rule:answer(subject, answer) end

---@param name string
---@return tidemill.TestBucket
function rule:kv(name) end

---The time of the clock.
---@return number
function rule:now() end

---Loads a rule of the directory; without a name the one that the test file is named after.
---@param name? string
---@return tidemill.TestRule
function mill.test(name) end

---@class tidemill.Matchers
local matchers = {}

---Deep, and exact: 1 is not 1.0, an empty array no empty object.
---@param expected any
function matchers.equal(expected) end

---Of a table the parts that are named; of a string a piece.
---@param part any
function matchers.contain(part) end

---@param pattern string
function matchers.match(pattern) end

---@param expected number
---@param distance? number
function matchers.near(expected, distance) end

function matchers.be_nil() end

---A function that must raise an error with this text in it.
---@param text? string
function matchers.raise(text) end

---@param value any
---@param ... any what else rule:send returned
---@return { to: tidemill.Matchers, to_not: tidemill.Matchers }
function expect(value, ...) end

---@param name string
---@param fn fun()
function describe(name, fn) end

---@param name string
---@param fn? fun() none: a test still to be written
function it(name, fn) end

---@param fn fun()
function before_each(fn) end

---@param fn fun()
function after_each(fn) end
