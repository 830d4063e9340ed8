describe("silent_sensor", function()
  local rule

  before_each(function() rule = mill.test("silent_sensor") end)

  local function read(sensor)
    rule:send { subject = "sensors.value", data = { sensor_id = sensor, value = 1 } }
  end

  it("says nothing while readings come", function()
    for _ = 1, 10 do
      read("t1")
      expect(rule:advance(30)).to.equal {}
    end
  end)

  it("raises one alert when a sensor falls silent", function()
    read("t1")
    expect(rule:advance(60)).to.equal {}
    expect(rule:advance(5)).to.contain {
      { subject = "alerts.silent", data = { sensor_id = "t1", seconds = 65.0 } },
    }
    expect(rule:advance(600)).to.equal {}
  end)

  it("raises it again after the sensor has been back", function()
    read("t1")
    rule:advance(100)
    read("t1")
    expect(#rule:advance(100)).to.equal(1)
  end)

  it("watches each sensor by itself", function()
    read("t1")
    rule:advance(40)
    read("t2")
    local published = rule:advance(40)
    expect(#published).to.equal(1)
    expect(published[1].data.sensor_id).to.equal("t1")
  end)

  it("goes on watching after a reload", function()
    read("t1")
    rule:advance(50)
    rule:reload()
    expect(rule:advance(20)).to.contain { { data = { sensor_id = "t1" } } }
  end)
end)
