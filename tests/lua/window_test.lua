describe("mill.window", function()
  local rule
  local null = mill.json.null
  local START = 1767225600 -- the test's clock begins here, at a full minute

  local function make(options, on_close)
    rule = mill.test("helper")
    local _, verdict, why = rule:send {
      subject = "make", data = { helper = "window", options = options, on_close = on_close },
    }
    expect(why).to.be_nil()
    expect(verdict).to.equal("ack")
  end

  -- What add or get returned, and the windows closed meanwhile.
  local function split(published)
    local closed, result = {}, nil
    for _, output in ipairs(published) do
      if output.subject == "closed" then closed[#closed + 1] = output.data end
      if output.subject == "result" then result = output.data end
    end
    return result, closed
  end

  local function call(method, ...)
    return split((rule:send { subject = method, data = mill.json.array { ... } }))
  end

  local function add(key, value, time)
    local result, closed = call("add", key, value, time)
    if result[1] == null then return nil, closed, result[2] end
    return result[1], closed
  end

  describe("tumbling", function()
    it("has count, sum, mean, min, max, last and where it lies", function()
      make { tumbling = 60 }
      add("a", 3, 120)
      add("a", 1, 130)
      expect(add("a", 2, 179.5)).to.equal {
        key = "a", from = 120, to = 180, count = 3, sum = 6, mean = 2.0, min = 1, max = 3, last = 2,
      }
    end)

    it("closes with the first value of a later one", function()
      make({ tumbling = 60 }, true)
      add("a", 1, 120)
      local now, closed = add("a", 5, 180)
      expect(now).to.contain { from = 180, count = 1 }
      expect(closed).to.contain { { from = 120, to = 180, sum = 1 } }
      expect(#closed).to.equal(1)
    end)

    it("has windows of its own for each key", function()
      make { tumbling = 60 }
      add("a", 1, 120)
      add(7, 10, 120)
      expect(add("a", 2, 121)).to.contain { key = "a", sum = 3 }
      expect(add(7, 20, 121)).to.contain { key = 7, sum = 30 }
    end)

    it("uses the time of arrival when no time is given", function()
      make({ tumbling = 60 }, true)
      expect(add("a", 1)).to.contain { from = START, to = START + 60 }
      rule:advance(59)
      expect(add("a", 2)).to.contain { count = 2 }
    end)

    it("is closed by a timer when nothing more comes", function()
      make({ tumbling = 60 }, true)
      add("a", 1)
      expect(rule:advance(59)).to.equal {}
      local _, closed = split(rule:advance(8))
      expect(closed).to.contain { { key = "a", from = START, count = 1 } }
      expect(#closed).to.equal(1)
    end)

    it("stays open for old messages that are worked off in a hurry", function()
      make({ tumbling = 60 }, true)
      add("a", 1, 120) -- years ago, by the clock on the wall
      expect(rule:advance(50)).to.equal {}
      expect(add("a", 2, 121)).to.contain { count = 2 }
    end)

    it("takes late values in as long as its lateness says", function()
      make({ tumbling = 60, lateness = 30 }, true)
      add("a", 1, 120)
      local _, closed = add("a", 1, 200)
      expect(closed).to.equal {}
      expect(add("a", 1, 170)).to.contain { from = 120, count = 2 }
      _, closed = add("a", 1, 210)
      expect(closed).to.contain { { from = 120, count = 2 } }
    end)

    it("does not count what comes later than that", function()
      make({ tumbling = 60, lateness = 30 }, true)
      add("a", 1, 120)
      add("a", 1, 210)
      local now, closed, why = add("a", 100, 179)
      expect(now).to.be_nil()
      expect(why).to.equal("late")
      expect(closed).to.equal {}
    end)

    it("does not count what comes long after its window, also when that never was", function()
      make { tumbling = 60 }
      add("a", 1, 1000)
      local _, _, why = add("a", 1, 120)
      expect(why).to.equal("late")
    end)

    it("does not open again what a timer has closed", function()
      make({ tumbling = 60 }, true)
      add("a", 1, 120)
      expect(#rule:advance(66)).to.equal(1)
      local _, _, why = add("a", 1, 125)
      expect(why).to.equal("late")
    end)

    it("forgets a clock that was wrong when its key has been silent for a while", function()
      make({ tumbling = 60 }, true)
      add("a", 1, 1e9)
      rule:advance(150)
      expect(add("a", 1, 120)).to.contain { from = 120, count = 1 }
    end)

    it("closes only the windows of the key whose clock goes wrong", function()
      make({ tumbling = 60 }, true)
      add("a", 1, 120)
      local _, closed = add("b", 1, 1e9)
      expect(closed).to.equal {}
      expect(add("a", 1, 121)).to.contain { count = 2 }
    end)

    it("keeps integers exact", function()
      make { tumbling = 60 }
      add("a", 9007199254740993, 1)
      expect(add("a", 1, 1).sum).to.equal(9007199254740994)
    end)

    it("does not wrap a sum that is too large for an integer", function()
      make { tumbling = 60 }
      add("a", math.maxinteger, 1)
      expect(add("a", math.maxinteger, 1).sum).to.near(2.0 ^ 64, 1e5)
    end)

    it("shows the window under way", function()
      make { tumbling = 60 }
      add("a", 4)
      expect(call("get", "a")[1]).to.contain { count = 1, last = 4 }
      expect(call("get", "b")[1]).to.equal(null)
      rule:advance(61)
      expect(call("get", "a")[1]).to.equal(null)
    end)

    it("lets the key that was not used for longest go first, and closes its windows", function()
      make({ tumbling = 60, keys = 2 }, true)
      local all = {}
      for key = 1, 5 do
        local _, closed = add(key, key, 120)
        for _, window in ipairs(closed) do all[#all + 1] = window.key end
      end
      table.sort(all)
      expect(all).to.equal { 1, 2 }
    end)
  end)

  describe("percentiles", function()
    it("are the smallest value that so much of the values does not exceed", function()
      make { tumbling = 60, percentiles = { 50, 95, 100 } }
      local now
      for value = 1, 100 do now = add("a", value, 1) end
      expect(now).to.contain { p50 = 50, p95 = 95, p100 = 100 }
    end)

    it("come from an even sample when there are many values", function()
      make { tumbling = 60, percentiles = { 50 }, samples = 100 }
      local now
      for value = 1, 1000 do now = add("a", value, 1) end
      expect(now.p50).to.near(500, 30)
      expect(now).to.contain { count = 1000, min = 1, max = 1000 }
    end)

    it("do not depend on the order in which values come", function()
      make { tumbling = 60, percentiles = { 10, 50, 99.9 } }
      local now
      for i = 1, 10 do now = add("a", (i * 7) % 10, 1) end
      expect(now).to.contain { p10 = 0, p50 = 4, ["p99.9"] = 9 }
    end)

    it("are right for sliding windows, fine and coarse", function()
      make { sliding = 100, percentiles = { 50 }, samples = 100 }
      local now
      for value = 1, 99 do now = add("a", 100 - value, value / 10) end
      expect(now.p50).to.equal(50)
      for value = 100, 1000 do now = add("a", value, value / 10) end
      expect(now.p50).to.near(500, 30)
    end)

    it("work for one value, also where samples are few", function()
      make { sliding = 60, percentiles = { 1, 99.9 } }
      expect(add("a", 7)).to.contain { p1 = 7, ["p99.9"] = 7 }
    end)
  end)

  describe("sliding", function()
    it("has the last seconds", function()
      make { sliding = 10 }
      add("a", 1, 100)
      add("a", 2, 105)
      expect(add("a", 4, 110)).to.equal { -- 100 is just out
        key = "a", from = 100, to = 110, count = 2, sum = 6, mean = 3.0, min = 2, max = 4, last = 4,
      }
    end)

    it("puts a value that comes late in its place", function()
      make { sliding = 10 }
      add("a", 1, 100)
      add("a", 3, 104)
      expect(add("a", 9, 102)).to.contain { count = 3, max = 9, last = 3, to = 104 }
      expect(add("a", 0, 113)).to.contain { count = 2, max = 3 }
    end)

    it("does not count what is older than the window", function()
      make { sliding = 10 }
      add("a", 1, 100)
      local _, _, why = add("a", 1, 90)
      expect(why).to.equal("late")
      expect(call("get", "a")[1].count).to.equal(1)
    end)

    it("goes on when nothing comes", function()
      make { sliding = 10 }
      add("a", 1)
      rule:advance(9)
      expect(call("get", "a")[1].count).to.equal(1)
      rule:advance(1)
      expect(call("get", "a")[1]).to.equal(null)
    end)

    it("stays right at any rate, with a coarser edge", function()
      make { sliding = 100, samples = 10 }
      local now
      for i = 1, 1000 do now = add("a", i, i / 10) end
      expect(now).to.contain { count = 1000, min = 1, max = 1000, last = 1000, sum = 500500 }
      for i = 1001, 3000 do
        now = add("a", i, i / 10)
        expect(now.count).to.near(900, 101) -- a fifth is one pane
      end
    end)
  end)

  describe("session", function()
    it("lasts as long as values come", function()
      make({ session = 10 }, true)
      add("a", 1, 100)
      add("a", 2, 109)
      local now, closed = add("a", 3, 118)
      expect(now).to.contain { from = 100, to = 118, count = 3 }
      expect(closed).to.equal {}
    end)

    it("is over when none has come for so long", function()
      make({ session = 10 }, true)
      add("a", 1, 100)
      local now, closed = add("a", 2, 110)
      expect(now).to.contain { from = 110, count = 1 }
      expect(closed).to.contain { { from = 100, to = 100, count = 1 } }
    end)

    it("is closed by a timer, too", function()
      make({ session = 10 }, true)
      add("a", 1)
      expect(rule:advance(9)).to.equal {}
      local _, closed = split(rule:advance(2))
      expect(#closed).to.equal(1)
    end)

    it("becomes one with another when a late value joins them", function()
      make({ session = 10, lateness = 20 }, true)
      add("a", 1, 100)
      add("a", 4, 115)
      expect(add("a", 2, 107)).to.equal {
        key = "a", from = 100, to = 115, count = 3, sum = 7, mean = 7 / 3, min = 1, max = 4,
        last = 4,
      }
    end)
  end)

  describe("a message that comes again", function()
    it("is not counted again", function()
      make { tumbling = 60 }
      add("a", 1, 120)
      expect(split((rule:redeliver()))[1]).to.contain { count = 1 }
      expect(add("a", 1, 121)).to.contain { count = 2 }
    end)

    it("closes again what it had closed", function()
      make({ tumbling = 60 }, true)
      add("a", 1, 120)
      local _, closed = add("a", 2, 180)
      local _, again = split((rule:redeliver()))
      expect(#again).to.equal(1)
      expect(again).to.equal(closed)
    end)

    it("is counted when it had not come so far the first time", function()
      make { tumbling = 60 }
      rule:send { subject = "add", data = { "a", 1, 120 }, delivered = 2 }
      expect(add("a", 1, 121)).to.contain { count = 2 }
    end)
  end)

  describe("a name", function()
    it("makes it survive a reload, and only a name does", function()
      for name, count in pairs { [true] = 2, [false] = 1 } do
        make { tumbling = 60, name = name and "n" or nil }
        add("a", 1, 120)
        rule:reload()
        rule:send {
          subject = "make",
          data = { helper = "window", options = { tumbling = 60, name = name and "n" or nil } },
        }
        expect(add("a", 1, 121)).to.contain { count = count }
      end
    end)

    it("may be given once", function()
      make { tumbling = 60, name = "n" }
      local _, verdict, why = rule:send {
        subject = "make", data = { helper = "window", options = { sliding = 5, name = "n" } },
      }
      expect(verdict).to.equal("error")
      expect(why).to.contain("helper.lua:13: mill.window: the name 'n' is taken")
    end)
  end)

  it("refuses what it cannot count", function()
    make { tumbling = 60 }
    for _, data in ipairs { { "a" }, { "a", "5" }, { null, 5 }, { "a", 5, "now" } } do
      local _, verdict, why =
        rule:send { subject = "add", data = mill.json.array(data) }
      expect(verdict).to.equal("error")
      expect(why).to.contain("window:add: the ")
    end
  end)

  it("refuses options that make no sense", function()
    for options, why in pairs {
      [{}] = "tumbling, sliding or session is missing",
      [{ tumbling = 1, sliding = 1 }] = "either",
      [{ tumbling = 0 }] = "tumbling: a number from",
      [{ sliding = 5, lateness = 1 }] = "not for sliding windows",
      [{ tumbling = 5, percentiles = { 101 } }] = "percentiles: numbers above 0",
      [{ tumbling = 5, keys = 0.5 }] = "keys: a whole number",
      [{ tumbling = 5, lateniss = 1 }] = "unknown option 'lateniss'",
    } do
      rule = mill.test("helper")
      local _, verdict, got =
        rule:send { subject = "make", data = { helper = "window", options = options } }
      expect(verdict).to.equal("error")
      expect(got).to.contain(why)
    end
  end)
end)
