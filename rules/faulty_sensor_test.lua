describe("faulty_sensor", function()
  local rule

  before_each(function() rule = mill.test("faulty_sensor") end)

  local report = {
    subject = "sensors.faulty",
    data = { sensor_id = "t1", fault = "no signal", time = 1767225600123 },
  }

  it("turns a report into an alert", function()
    expect(rule:send(report)).to.equal {
      {
        subject = "alerts.faulty",
        data = { sensor_id = "t1", fault = "no signal", time = 1767225600123 },
      },
    }
  end)

  it("says where the sensor is, once it is known", function()
    rule:send {
      subject = "sensors.metadata",
      data = { sensor_id = "t1", name = "Boiler", location = "Hall 2" },
    }
    expect(rule:send(report)).to.contain { { data = { name = "Boiler", location = "Hall 2" } } }
  end)

  it("knows it still after a reload", function()
    rule:send { subject = "sensors.metadata", data = { sensor_id = "t1", name = "Boiler" } }
    rule:reload()
    expect(rule:send(report)).to.contain { { data = { name = "Boiler" } } }
  end)

  it("leaves out a location that is null", function()
    rule:send {
      subject = "sensors.metadata",
      data = { sensor_id = "t1", name = "Boiler", location = mill.json.null },
    }
    local published = rule:send(report)
    expect(published[1].data.name).to.equal("Boiler")
    expect(published[1].data.location).to.be_nil()
  end)

  it("writes a warning into the log", function()
    rule:send(report)
    expect(rule.log).to.equal { { level = "warn", text = "sensor t1 is faulty: no signal" } }
  end)
end)
