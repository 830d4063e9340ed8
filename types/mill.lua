---@meta
-- What Tidemill gives to rules, for lua-language-server: completion, hover texts and checks in the
-- editor (rules/.luarc.json points here). Tidemill does not load it. docs/rules.md explains; a test
-- keeps both, and the program, in step.

---What a rule file returns.
---@class tidemill.Rule
---The subjects it wants, NATS wildcards allowed: `{ "sensors.*.value", "sensors.sos.>" }`.
---@field subjects? string[]
---Called for each message. Returning means done, an error means try again.
---@field on_message? fun(msg: tidemill.Message)
---`{ seconds, fn }`, or a list of such pairs: calls `fn` again and again.
---@field every? { [1]: number, [2]: fun() } | { [1]: number, [2]: fun() }[]
---How many messages may be under way at once while the handler waits; 1 when not given.
---@field concurrency? integer
---`false` leaves the rule out.
---@field enabled? boolean
---Called once the file has run.
---@field on_load? fun()
---Called before a reload, or the end, takes the rule away.
---@field on_unload? fun()
local rule = {}

---A message. Read-only, and only good while its handler runs.
---@class tidemill.Message
---The decoded JSON (or the payload, when the source's format is "raw"): this rule's own copy.
---@field data any
---The payload as it came.
---@field raw string
---@field subject string
---Name to first value.
---@field headers table<string, string>
---@field stream string
---@field consumer string
---Its number in the stream: the same when it is delivered again.
---@field sequence integer
---When the stream stored it, in seconds since 1970.
---@field time number
---The same in nanoseconds.
---@field time_ns integer
---1 the first time.
---@field delivered integer
---How many more wait behind it.
---@field pending integer
local msg = {}

---Ends the handler: not now, try again after so many seconds. Nothing is published.
---@param seconds number
function msg:retry(seconds) end

---Ends the handler: never. The message becomes a dead letter; nothing is published.
---@param reason? string
function msg:reject(reason) end

---Tells the server that this takes longer. Waiting in `mill.*` calls does so by itself.
function msg:in_progress() end

---Of mill.publish.
---@class tidemill.PublishOptions
---@field headers? table<string, string|number>
---The message id, instead of the one Tidemill gives.
---@field id? string
---Seconds after which the stream drops the message (nats-server 2.11).
---@field ttl? number
---`false`: plain core NATS, stored by nobody.
---@field durable? boolean
local opts = {}

---@class tidemill.Timer
local timer = {}

---Ends the timer. Again, or after its end, it does nothing.
function timer:cancel() end

---@class tidemill.Counter
local counter = {}

---@param by? number 1 when not given
function counter:inc(by) end

---@param by number
function counter:add(by) end

---@class tidemill.Gauge
local gauge = {}

---@param value number
function gauge:set(value) end

---@class tidemill.Histogram
local histogram = {}

---@param value number
function histogram:observe(value) end

---A JetStream key-value bucket. Each call waits, without holding up other rules.
---@class tidemill.Bucket
local kv = {}

---The value as it was put; nil alone when there is none.
---@param key string
---@return string? value
---@return integer|string|nil revision or, without a value, why it could not be asked for
function kv:get(key) end

---The same, decoded from JSON.
---@param key string
---@return any value
---@return integer|string|nil revision or, without a value, why it could not be asked for
function kv:get_json(key) end

---@param key string
---@param value string|table
---@return integer? revision
---@return string? err
function kv:put(key, value) end

---Puts the first value of a key; `nil, "exists"` when there is one.
---@param key string
---@param value string|table
---@return integer? revision
---@return string? err
function kv:create(key, value) end

---Puts a value if `revision` is still the key's last one; else `nil, "wrong revision"`.
---@param key string
---@param value string|table
---@param revision integer
---@return integer? revision
---@return string? err
function kv:update(key, value, revision) end

---@param key string
---@return true? done
---@return string? err
function kv:delete(key) end

---@return string[]? keys
---@return string? err
function kv:keys() end

---@alias tidemill.Key string|number|boolean

---What a window has counted: `p50`, `p95` and the like are there when `percentiles` asked for them.
---@class tidemill.WindowResult
---@field key tidemill.Key
---@field from number
---@field to number
---@field count integer
---@field sum number
---@field mean number
---@field min number
---@field max number
---@field last number
---@field [string] number

---One of tumbling, sliding and session (seconds) says which kind it is.
---@class tidemill.WindowOptions
---@field tumbling? number
---@field sliding? number
---@field session? number
---@field on_close? fun(w: tidemill.WindowResult)
---@field lateness? number
---@field percentiles? number[]
---@field samples? integer
---@field keys? integer
---@field name? string survives reloads under this name

---Counts and averages over time, per key.
---@class tidemill.Window
local window = {}

---Takes a number in. Returns the window it is in, as it is now, or nil and "late".
---@param key tidemill.Key
---@param value number
---@param time? number of the event, in seconds since 1970; the arrival when not given
---@return tidemill.WindowResult? w
---@return string? late
function window:add(key, value, time) end

---The key's latest window as it is now.
---@param key tidemill.Key
---@return tidemill.WindowResult?
function window:get(key) end

---@class tidemill.ThrottleOptions
---@field per number seconds
---@field count? integer how many in any stretch of `per` seconds; 1 when not given
---@field keys? integer
---@field name? string survives reloads under this name

---Lets through at most so many per key and time.
---@class tidemill.Throttle
local throttle = {}

---@param key tidemill.Key
---@param time? number in seconds since 1970; the arrival when not given
---@return boolean allowed
---@return number? seconds until it will be
function throttle:allow(key, time) end

---@class tidemill.DedupeOptions
---@field within number seconds, counted from the first one
---@field keys? integer
---@field name? string survives reloads under this name

---Tells the first of equal things from those that follow.
---@class tidemill.Dedupe
local dedupe = {}

---@param key tidemill.Key
---@param time? number in seconds since 1970; the arrival when not given
---@return boolean
function dedupe:first(key, time) end

---@class tidemill.ChangedOptions
---@field above? number
---@field below? number
---@field hysteresis? number
---@field by? number
---@field keys? integer
---@field name? string survives reloads under this name

---Says when a value has changed, or has crossed a limit.
---@class tidemill.Changed
local changed = {}

---@param key tidemill.Key
---@param value any
---@return { key: tidemill.Key, from: any, to: any }? change
function changed:update(key, value) end

---What the host gives: the one global beside plain Lua.
---@class tidemill.Mill
---Tidemill's version.
---@field version string
mill = {}

---Publishes when the handler has returned. To be stored by a stream before the input is
---acknowledged, unless `opts.durable` is false.
---@param subject string
---@param data table|string a table becomes JSON, a string goes as it is
---@param opts? tidemill.PublishOptions
function mill.publish(subject, data, opts) end

---Asks and waits for the answer.
---@param subject string
---@param data? table|string
---@param timeout? number seconds; 5 when not given
---@return string? payload
---@return string? err "no responders", "timeout", ...
function mill.request(subject, data, timeout) end

---A key-value bucket, which must exist.
---@param name string
---@return tidemill.Bucket
function mill.kv(name) end

---A table of this rule, of plain data, that survives reloads.
---@param name string
---@return table
function mill.state(name) end

---Calls `fn` every so many seconds.
---@param seconds number
---@param fn fun()
---@return tidemill.Timer
function mill.every(seconds, fn) end

---Calls `fn` once, after so many seconds.
---@param seconds number
---@param fn fun()
---@return tidemill.Timer
function mill.after(seconds, fn) end

---Waits, without holding up other rules.
---@param seconds number
function mill.sleep(seconds) end

---The time, in seconds since 1970.
---@return number
function mill.now() end

---@param options tidemill.WindowOptions
---@return tidemill.Window
function mill.window(options) end

---@param options tidemill.ThrottleOptions
---@return tidemill.Throttle
function mill.throttle(options) end

---@param options tidemill.DedupeOptions
---@return tidemill.Dedupe
function mill.dedupe(options) end

---@param options tidemill.ChangedOptions
---@return tidemill.Changed
function mill.changed(options) end

---@param name string
---@param labels? table<string, string|number|boolean>
---@return tidemill.Counter
function mill.counter(name, labels) end

---@param name string
---@param labels? table<string, string|number|boolean>
---@return tidemill.Gauge
function mill.gauge(name, labels) end

---@param name string
---@param labels? table<string, string|number|boolean>
---@return tidemill.Histogram
function mill.histogram(name, labels) end

---A line in the log, with the rule's name; tables are written as JSON.
---@class tidemill.Log
mill.log = {}

function mill.log.debug(...) end

function mill.log.info(...) end

function mill.log.warn(...) end

function mill.log.error(...) end

---The codec that `msg.data` and `mill.publish` use.
---@class tidemill.Json
---How a JSON null looks in Lua; the same as `cjson.null`.
---@field null lightuserdata
---The metatable of tables that are written as arrays.
---@field array_mt table
mill.json = {}

---@param value any
---@return string
function mill.json.encode(value) end

---@param text string
---@return any
function mill.json.decode(text) end

---Has a table, or a new one, written as an array, also when it is empty.
---@generic T: table
---@param t? T
---@return T
function mill.json.array(t) end

---@class tidemill.Worker
---From 1 to `count`.
---@field id integer
---@field count integer
mill.worker = {}
