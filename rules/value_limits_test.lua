describe("value_limits", function()
  local rule

  before_each(function() rule = mill.test("value_limits") end)

  local function read(value, time)
    return rule:send {
      subject = "sensors.value",
      data = { sensor_id = "t1", value = value, unit = "C", time = time or 1000 },
    }
  end

  it("says nothing about a value between the limits", function()
    expect(read(50)).to.equal {}
  end)

  it("raises one alert when a value passes the upper limit", function()
    expect(read(95, 7)).to.equal {
      {
        subject = "alerts.high",
        data = { sensor_id = "t1", value = 95, unit = "C", time = 7, limit = 90 },
      },
    }
    expect(read(96)).to.equal {}
  end)

  it("is normal again only when the value is well back", function()
    read(95)
    expect(read(87)).to.equal {} -- under 90, but not by five
    expect(read(85)).to.contain { { subject = "alerts.normal", data = { value = 85 } } }
  end)

  it("does the same at the lower limit", function()
    expect(read(9.5)).to.contain { { subject = "alerts.low", data = { value = 9.5, limit = 10 } } }
    expect(read(14)).to.equal {}
    expect(read(15)).to.contain { { subject = "alerts.normal" } }
  end)

  it("adds what is known about the sensor", function()
    rule:send {
      subject = "sensors.metadata",
      data = { sensor_id = "t1", name = "Boiler", location = "Hall 2" },
    }
    expect(read(95)).to.contain { { data = { name = "Boiler", location = "Hall 2" } } }
  end)

  it("repeats its alert when the same message comes again, and only then", function()
    local first = read(95)
    expect(rule:redeliver()).to.equal(first)
    expect(read(95)).to.equal {}
  end)

  it("remembers the level over a reload", function()
    read(95)
    rule:reload()
    expect(read(96)).to.equal {}
    expect(read(50)).to.contain { { subject = "alerts.normal" } }
  end)

  it("rejects a reading without a value", function()
    local published, verdict, reason = rule:send {
      subject = "sensors.value", data = { sensor_id = "t1" },
    }
    expect(published).to.equal {}
    expect(verdict).to.equal("reject")
    expect(reason).to.equal("a reading needs sensor_id (string) and value (number)")
  end)

  it("rejects what is not JSON", function()
    local _, verdict, reason = rule:send { subject = "sensors.value", raw = "{ value: 95 }" }
    expect(verdict).to.equal("reject")
    expect(reason).to.contain("the payload is not JSON")
  end)
end)
