local rule

local function make(helper, options)
  rule = mill.test("helper")
  local _, _, why = rule:send { subject = "make", data = { helper = helper, options = options } }
  expect(why).to.be_nil()
end

local function call(method, ...)
  local published = rule:send { subject = method, data = mill.json.array { ... } }
  return table.unpack(published[1].data)
end

local null = mill.json.null

describe("mill.throttle", function()
  it("lets one through per key and time", function()
    make("throttle", { per = 60 })
    expect(call("allow", "a")).to.equal(true)
    expect(call("allow", "a")).to.equal(false)
    expect(call("allow", "b")).to.equal(true)
    rule:advance(60)
    expect(call("allow", "a")).to.equal(true)
  end)

  it("says how long to wait", function()
    make("throttle", { per = 60 })
    call("allow", "a")
    rule:advance(45)
    local allowed, wait = call("allow", "a")
    expect(allowed).to.equal(false)
    expect(wait).to.equal(15.0)
  end)

  it("never lets more than its count through in any such time", function()
    make("throttle", { per = 10, count = 3 })
    local granted = {}
    for _ = 1, 100 do
      if call("allow", "a") then granted[#granted + 1] = rule:now() end
      rule:advance(1)
    end
    for i = 4, #granted do expect(granted[i] - granted[i - 3] >= 10).to.equal(true) end
    expect(#granted).to.equal(30)
  end)

  it("takes back what a message was allowed when it comes again", function()
    make("throttle", { per = 60 })
    expect(call("allow", "a")).to.equal(true)
    expect(rule:redeliver()).to.contain { { data = { true } } }
    expect(call("allow", "a")).to.equal(false)
  end)

  it("survives a reload under its name", function()
    make("throttle", { per = 60, name = "n" })
    call("allow", "a")
    rule:reload()
    rule:send {
      subject = "make", data = { helper = "throttle", options = { per = 60, name = "n" } },
    }
    expect(call("allow", "a")).to.equal(false)
  end)
end)

describe("mill.dedupe", function()
  it("knows the first of equal keys", function()
    make("dedupe", { within = 300 })
    expect(call("first", "a")).to.equal(true)
    expect(call("first", "a")).to.equal(false)
    expect(call("first", "b")).to.equal(true)
  end)

  it("forgets a key after its time, counted from the first", function()
    make("dedupe", { within = 300 })
    call("first", "a")
    rule:advance(299)
    expect(call("first", "a")).to.equal(false)
    rule:advance(1)
    expect(call("first", "a")).to.equal(true)
  end)

  it("takes a message that comes again for the first still", function()
    make("dedupe", { within = 300 })
    call("first", "a")
    expect(rule:redeliver()).to.contain { { data = { true } } }
  end)

  it("remembers at least so many keys, and at most twice as many", function()
    make("dedupe", { within = 300, keys = 10 })
    for key = 1, 40 do call("first", key) end
    for key = 31, 40 do expect(call("first", key)).to.equal(false) end
    expect(call("first", 1)).to.equal(true)
  end)
end)

describe("mill.changed", function()
  it("tells the level that a value has crossed into", function()
    make("changed", { above = 90, below = 10 })
    expect(call("update", "a", 50)).to.equal(null)
    expect(call("update", "a", 90)).to.equal(null)
    expect(call("update", "a", 91)).to.equal { key = "a", from = "normal", to = "high" }
    expect(call("update", "a", 95)).to.equal(null)
    expect(call("update", "a", 5)).to.equal { key = "a", from = "high", to = "low" }
    expect(call("update", "a", 10)).to.equal { key = "a", from = "low", to = "normal" }
  end)

  it("wants a value to come back by its hysteresis", function()
    make("changed", { above = 90, below = 10, hysteresis = 5 })
    call("update", "a", 91)
    expect(call("update", "a", 86)).to.equal(null)
    expect(call("update", "a", 85)).to.equal { key = "a", from = "high", to = "normal" }
    call("update", "a", 9)
    expect(call("update", "a", 14)).to.equal(null)
    expect(call("update", "a", 15)).to.contain { to = "normal" }
  end)

  it("tells a change of any plain value, but not the first", function()
    make("changed", {})
    expect(call("update", "a", "open")).to.equal(null)
    expect(call("update", "a", "open")).to.equal(null)
    expect(call("update", "a", false)).to.equal { key = "a", from = "open", to = false }
    expect(call("update", "a", null)).to.equal { key = "a", from = false, to = null }
  end)

  it("leaves out small changes, counted from what it last told", function()
    make("changed", { by = 1 })
    call("update", "a", 10)
    expect(call("update", "a", 10.6)).to.equal(null)
    expect(call("update", "a", 11.2)).to.equal { key = "a", from = 10, to = 11.2 }
  end)

  it("tells the same change again when its message comes again", function()
    make("changed", { above = 90 })
    call("update", "a", 50)
    local change = call("update", "a", 95)
    expect(rule:redeliver()).to.contain { { data = { change } } }
    expect(call("update", "a", 96)).to.equal(null)
  end)

  it("survives a reload under its name, and starts anew with other options", function()
    make("changed", { above = 90, name = "n" })
    call("update", "a", 95)
    rule:reload()
    local options = { above = 90, name = "n" }
    rule:send { subject = "make", data = { helper = "changed", options = options } }
    expect(call("update", "a", 96)).to.equal(null)
    rule:reload()
    rule:send { subject = "make", data = { helper = "changed", options = { name = "n" } } }
    expect(call("update", "a", 95)).to.equal(null)
  end)

  it("refuses limits between which nothing is normal", function()
    rule = mill.test("helper")
    local _, verdict, why = rule:send {
      subject = "make",
      data = { helper = "changed", options = { above = 10, below = 5, hysteresis = 3 } },
    }
    expect(verdict).to.equal("error")
    expect(why).to.contain("nothing between them is normal")
  end)
end)
