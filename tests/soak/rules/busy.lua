-- Takes the worker for some milliseconds, and makes garbage.
return {
  subjects = { "jobs.busy" },
  on_message = function(msg)
    local words = {}
    for i = 1, 20000 do words[i % 500 + 1] = "word " .. i end
    mill.publish("receipts.busy", { time = msg.data.time, words = #words })
  end,
}
