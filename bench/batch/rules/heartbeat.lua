-- Counts, and never looks at the payload.
local beats = 0

return {
  subjects = { "sensors.heartbeat" },
  on_message = function() beats = beats + 1 end,
}
