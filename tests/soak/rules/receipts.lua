-- A receipt for each message of the sensors. What other rules do with them does not matter here.
local edition = require "edition"

return {
  subjects = { "sensors.>" },
  on_message = function(msg)
    mill.publish("receipts.sensors", { time = msg.data.time, edition = edition })
  end,
}
