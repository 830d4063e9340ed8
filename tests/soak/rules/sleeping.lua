-- Waits some milliseconds; now and then a second, so that reloads and ends meet it waiting.
return {
  subjects = { "jobs.sleep" },
  concurrency = 50,
  on_message = function(msg)
    local time = msg.data.time
    mill.sleep(msg.sequence % 50 == 0 and 1 or 0.002)
    mill.publish("receipts.sleep", { time = time })
  end,
}
