-- Reads two fields of a flat reading, and publishes an alert for one in ten.
local LIMIT = 90

return {
  subjects = { "sensors.value" },
  on_message = function(msg)
    local reading = msg.data
    if reading.value > LIMIT then
      mill.publish("alerts.high", {
        sensor_id = reading.sensor_id, value = reading.value, limit = LIMIT,
      })
    end
  end,
}
