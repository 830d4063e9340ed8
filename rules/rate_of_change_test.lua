describe("rate_of_change", function()
  local rule

  before_each(function() rule = mill.test("rate_of_change") end)

  -- `at` is in seconds; the sensors send milliseconds.
  local function read(value, at, sensor)
    return rule:send {
      subject = "sensors.value",
      data = { sensor_id = sensor or "t1", value = value, time = at * 1000 },
    }
  end

  it("has nothing to compare the first reading with", function()
    expect(read(1000, 0)).to.equal {}
  end)

  it("raises an alert when a value moves too fast", function()
    read(10, 0)
    expect(read(24, 2)).to.equal {
      {
        subject = "alerts.rate",
        data = { sensor_id = "t1", value = 24, from = 10, per_second = 7.0, time = 2000 },
      },
    }
  end)

  it("raises it for falling values too", function()
    read(30, 0)
    expect(read(10, 2)).to.contain { { data = { per_second = -10.0 } } }
  end)

  it("bears just the limit", function()
    read(10, 0)
    expect(read(16, 1)).to.equal {}
  end)

  it("compares each sensor with itself", function()
    read(10, 0, "t1")
    expect(read(90, 1, "t2")).to.equal {}
  end)

  it("ignores a reading that is older than the last one", function()
    read(10, 5)
    expect(read(90, 4)).to.equal {}
  end)

  it("compares a message that comes again with the same reading as before", function()
    read(10, 0)
    local first = read(24, 2)
    expect(rule:redeliver()).to.equal(first)
  end)
end)
