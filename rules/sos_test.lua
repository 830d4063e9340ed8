describe("sos", function()
  local rule

  before_each(function() rule = mill.test("sos") end)

  it("passes the payload on byte for byte", function()
    local payload = '{ "sensor_id":"t1",  "value": 1.50, "n": 12345678901234567890 }\n'
    local published, verdict = rule:send { subject = "sensors.sos", raw = payload }
    expect(verdict).to.equal("ack")
    expect(#published).to.equal(1)
    expect(published[1].subject).to.equal("alerts.sos")
    expect(published[1].raw).to.equal(payload)
  end)

  it("does not care whether it is JSON", function()
    local published = rule:send { subject = "sensors.sos", raw = "help \0 me" }
    expect(published).to.equal { { subject = "alerts.sos", data = "help \0 me" } }
  end)

  it("wants nothing else", function()
    local _, verdict = rule:send { subject = "sensors.value", data = {} }
    expect(verdict).to.equal("unmatched")
  end)
end)
