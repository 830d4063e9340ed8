-- Asks for a second try, or fails the first time.
return {
  subjects = { "jobs.retry", "jobs.flaky" },
  on_message = function(msg)
    mill.publish("receipts.again", { time = msg.data.time })
    if msg.delivered > 1 then return end
    if msg.subject == "jobs.retry" then return msg:retry(0.05) end
    error("not the first time")
  end,
}
