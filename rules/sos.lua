-- Passes every sensors.sos on at once as alerts.sos, byte for byte.
return {
  subjects = { "sensors.sos" },
  on_message = function(msg)
    -- msg.raw is the payload as it came: nothing to decode, nothing that can fail on its content.
    mill.publish("alerts.sos", msg.raw)
  end,
}
