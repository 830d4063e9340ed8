-- Turns every sensors.faulty report into alerts.faulty, with where the sensor is.
local metadata = require "metadata"

local known = mill.state("metadata")

return {
  subjects = { "sensors.faulty", "sensors.metadata" },
  on_message = function(msg)
    if msg.subject == "sensors.metadata" then return metadata.remember(known, msg) end

    local report = msg.data
    mill.log.warn("sensor", report.sensor_id, "is faulty:", report.fault)
    mill.publish("alerts.faulty", metadata.describe(known, {
      sensor_id = report.sensor_id, fault = report.fault, time = report.time,
    }))
  end,
}
