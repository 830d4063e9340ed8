-- Order for each sensor, on many processes: nats-server.conf beside this file puts a partition
-- into the subject of each reading, here each process takes its share of the partitions. What holds
-- then, and what it costs, is in docs/operations.md, "Partitions".
--
-- It is started PROCESSES times, with PROCESS from 0 up: PROCESS=0 PROCESSES=3 tidemill run
-- In a StatefulSet of Kubernetes pods are called NAME-0, NAME-1, ...: PROCESS is not needed there.

local PARTITIONS = 12 -- as in nats-server.conf; more of them: more readings at a time
local processes = tonumber(env("PROCESSES", "1"))
local pod = env("HOSTNAME", ""):match("%-(%d+)$")
local process = tonumber(env("PROCESS", pod or "0"))

local streams = { { name = "alerts", subjects = { "alerts.>" }, max_age = "30d" } }
local sources = {}
for partition = 0, PARTITIONS - 1 do
  local stream = "clientA_sensor_" .. partition
  local subjects = { "sensors.value." .. partition .. ".>" }
  streams[#streams + 1] = { name = stream, subjects = subjects, max_age = "7d" }
  if partition % processes == process % processes then
    sources[#sources + 1] = {
      stream = stream,
      durable = "rule_executor",
      max_ack_pending = 1, -- the next reading comes when this one is settled: that keeps the order
      ack_wait = env("ACK_WAIT", "10s"), -- so long a partition waits when its process was killed
      max_deliver = 5,
    }
  end
end

return {
  nats = { url = env("NATS_URL", "nats://127.0.0.1:4222") },
  streams = streams,
  sources = sources,
  rules = { dir = "rules" }, -- they want "sensors.value.*.*"
}
