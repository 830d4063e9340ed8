-- Raises alerts.rate when a sensor's value moves faster than MAX_PER_SECOND between two readings.
local MAX_PER_SECOND = 6

local readings = mill.state("readings") -- sensor -> its latest reading; one entry per sensor

return {
  subjects = { "sensors.value" },
  on_message = function(msg)
    local reading = msg.data
    local id, value, time = reading.sensor_id, reading.value, reading.time
    if type(id) ~= "string" or type(value) ~= "number" or type(time) ~= "number" then
      return msg:reject("a reading needs sensor_id (string), value and time (numbers)")
    end

    local last = readings[id]
    if last and last.sequence == msg.sequence then
      last = last.before -- the same message again: compare it with the same reading again
    end
    local before = last and { value = last.value, time = last.time }
    readings[id] = { value = value, time = time, sequence = msg.sequence, before = before }
    if not before or time <= before.time then return end

    local rate = (value - before.value) / ((time - before.time) / 1000)
    if math.abs(rate) > MAX_PER_SECOND then
      mill.publish("alerts.rate", {
        sensor_id = id, value = value, from = before.value, per_second = rate, time = time,
      })
    end
  end,
}
