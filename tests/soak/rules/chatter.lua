-- Talks, also in tables.
return {
  subjects = { "jobs.log" },
  on_message = function(msg)
    mill.log.info("a word of", msg.data.sensor_id, { sequence = msg.sequence, data = msg.data })
    mill.log.debug("nobody hears this", msg.raw)
    mill.publish("receipts.log", { time = msg.data.time })
  end,
}
