-- Asks for a price. Some requests get no answer, and while the server is away none does.
return {
  subjects = { "jobs.request" },
  concurrency = 50,
  on_message = function(msg)
    local time = msg.data.time
    local answer = mill.request("prices.get", { time = time, try = msg.delivered }, 1)
    if not answer then return msg:retry(0.2) end
    mill.publish("receipts.request", { time = time, price = mill.json.decode(answer).price })
  end,
}
