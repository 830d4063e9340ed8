-- Raises alerts.high when a sensor's value passes HIGH, alerts.low when it falls under LOW, and
-- alerts.normal when it is well back between them: one alert per change, not one per reading.
local metadata = require "metadata"

local HIGH = 90
local LOW = 10
local HYSTERESIS = 5 -- how far back a value must come to be normal again

local sensors = mill.state("sensors") -- sensor -> { level, since }; one entry per sensor
local known = mill.state("metadata")

-- The level of a value for a sensor that was at `level` until now.
local function level_of(value, level)
  if value > HIGH or (level == "high" and value > HIGH - HYSTERESIS) then return "high" end
  if value < LOW or (level == "low" and value < LOW + HYSTERESIS) then return "low" end
  return "normal"
end

return {
  subjects = { "sensors.value", "sensors.metadata" },
  on_message = function(msg)
    if msg.subject == "sensors.metadata" then return metadata.remember(known, msg) end

    local reading = msg.data
    local id, value = reading.sensor_id, reading.value
    if type(id) ~= "string" or type(value) ~= "number" then
      return msg:reject("a reading needs sensor_id (string) and value (number)")
    end

    local sensor = sensors[id] or { level = "normal" }
    local level = level_of(value, sensor.level)
    -- The same message again (its alert could not be stored): the same alert again.
    if level == sensor.level and sensor.since ~= msg.sequence then return end
    sensors[id] = { level = level, since = msg.sequence }

    mill.publish("alerts." .. level, metadata.describe(known, {
      sensor_id = id, value = value, unit = reading.unit, time = reading.time,
      limit = level == "high" and HIGH or level == "low" and LOW or nil,
    }))
  end,
}
