-- What never succeeds: one kind fails, the other is refused.
return {
  subjects = { "jobs.failing", "jobs.reject" },
  on_message = function(msg)
    mill.publish("receipts.never", { time = msg.data.time })
    if msg.subject == "jobs.reject" then return msg:reject("unwanted") end
    error("never")
  end,
}
