-- Millions of messages from one call.
return {
  subjects = { "hostile.publish_millions" },
  on_message = function(msg)
    for i = 1, 5000000 do mill.publish("out.x", "x") end
  end,
}
