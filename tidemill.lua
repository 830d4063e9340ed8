-- The sample configuration: sensor readings in, alerts out. docs/configuration.md has every key.
-- Each stream is created when it does not exist and never altered.
return {
  nats = {
    url = env("NATS_URL", "nats://127.0.0.1:4222"), -- several: separated by commas
    name = "tidemill", -- how the server lists this connection
  },

  streams = {
    { -- what the sensors send
      name = "clientA_sensor",
      subjects = { "sensors.faulty", "sensors.metadata", "sensors.value", "sensors.sos" },
      max_age = "7d",
    },
    { -- what the rules make of it
      name = "alerts",
      subjects = { "alerts.>" },
      max_age = "30d",
    },
  },

  sources = {
    {
      stream = "clientA_sensor",
      durable = "rule_executor", -- the pull consumer; the server keeps its place
      batch = 500, -- messages asked for at a time
      ack_wait = "30s", -- the server delivers again what is not settled by then
      max_deliver = 5, -- tries, then the message becomes a dead letter
      backoff = { "1s", "5s", "30s" }, -- waits between the tries; the last one repeats
      workers = 1, -- the sample rules compare readings of a sensor: one worker sees all of them
    },
  },

  rules = {
    dir = "rules", -- *.lua; SIGHUP reads it again
    timeout = "1s", -- a handler that runs longer is stopped
    memory = "256MB", -- for all rules of a worker together
  },

  http = { listen = "127.0.0.1:9180" },
  log = { level = "info", format = "text" }, -- or "json"
}
