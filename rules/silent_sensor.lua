-- Raises alerts.silent, once per silence, when a sensor has sent no reading for SILENCE seconds.
local SILENCE = 60
local CHECK_EVERY = 5
local FORGET = 24 * 3600 -- a sensor silent for this long is gone

local heard = mill.state("heard") -- sensor -> { at, silent }; bounded by FORGET

local function check()
  local now = mill.now()
  for id, sensor in pairs(heard) do
    local silence = now - sensor.at
    if silence > FORGET then
      heard[id] = nil
    elseif silence > SILENCE and not sensor.silent then
      sensor.silent = true
      mill.publish("alerts.silent", { sensor_id = id, seconds = silence })
    end
  end
end

return {
  subjects = { "sensors.value" },
  on_message = function(msg)
    local id = msg.data.sensor_id
    if type(id) == "string" then heard[id] = { at = mill.now(), silent = false } end
  end,
  every = { CHECK_EVERY, check },
}
