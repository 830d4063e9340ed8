-- Metrics of its own, with labels that never come again: only the first of them get a series.
local all = mill.counter("soak_readings_total")
local latest = mill.gauge("soak_latest_value")
local values = mill.histogram("soak_values", { unit = "C" })

return {
  subjects = { "sensors.value" },
  on_message = function(msg)
    local reading = msg.data
    all:inc()
    latest:set(reading.value)
    values:observe(reading.value)
    if reading.time % 10 == 0 then
      mill.counter("soak_seen_total", { key = tostring(reading.time // 100) }):inc()
    end
  end,
}
