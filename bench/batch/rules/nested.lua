-- The same of a kilobyte of nested objects, and the device goes into the alert as it is.
local LIMIT = 50

return {
  subjects = { "sensors.nested" },
  on_message = function(msg)
    local reading = msg.data.reading
    if reading.value > LIMIT then
      mill.publish("alerts.high", { reading = reading, device = msg.data.device })
    end
  end,
}
