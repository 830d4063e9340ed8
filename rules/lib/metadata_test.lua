local metadata = require "metadata"

describe("metadata", function()
  local known

  before_each(function()
    known = {}
    metadata.remember(known, { data = { sensor_id = "t1", name = "Boiler", location = "Hall 2" } })
  end)

  it("adds name and location to an alert", function()
    expect(metadata.describe(known, { sensor_id = "t1" })).to.equal {
      sensor_id = "t1", name = "Boiler", location = "Hall 2",
    }
  end)

  it("leaves the alert of an unknown sensor alone", function()
    expect(metadata.describe(known, { sensor_id = "t2" })).to.equal { sensor_id = "t2" }
  end)

  it("lets the latest message win, and forgets what is null in it", function()
    metadata.remember(known, { data = { sensor_id = "t1", name = mill.json.null } })
    expect(metadata.describe(known, { sensor_id = "t1" })).to.equal { sensor_id = "t1" }
  end)

  it("does without a sensor_id", function()
    metadata.remember(known, { data = { name = "Boiler" } })
    expect(known.t1.name).to.equal("Boiler")
  end)
end)
