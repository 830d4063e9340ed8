-- A payload over the server's limit.
return {
  subjects = { "hostile.publish_large_payload" },
  on_message = function(msg)
    mill.publish("out.x", ("x"):rep(2 << 20))
  end,
}
