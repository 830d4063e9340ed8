-- What is known about the sensors, from their own sensors.metadata messages, to add to alerts.
--
--   local metadata = require "metadata"
--   local known = mill.state("metadata")     -- a table of the rule that uses it
--
-- The rule must want "sensors.metadata" too: rules share nothing, so each keeps what it needs. One
-- small entry per sensor.
local metadata = {}

-- A string, or nothing: what is kept must be plain data, which a JSON null is not.
local function text(value)
  return type(value) == "string" and value or nil
end

-- Keeps what one sensors.metadata message says about its sensor; the latest wins.
function metadata.remember(known, msg)
  local about = msg.data
  if type(about.sensor_id) == "string" then
    known[about.sensor_id] = { name = text(about.name), location = text(about.location) }
  end
end

-- Adds name and location to an alert, as far as they are known, and returns it.
function metadata.describe(known, alert)
  local about = known[alert.sensor_id]
  if about then
    alert.name, alert.location = about.name, about.location
  end
  return alert
end

return metadata
