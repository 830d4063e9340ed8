-- A header that JetStream acts upon.
return {
  subjects = { "hostile.publish_reserved_header" },
  on_message = function(msg)
    mill.publish("out.x", "x", { headers = { ["Nats-Rollup"] = "all" } })
  end,
}
