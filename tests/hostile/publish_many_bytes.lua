-- A few messages of many bytes.
return {
  subjects = { "hostile.publish_many_bytes" },
  on_message = function(msg)
    local payload = ("x"):rep(1000000)
    while true do mill.publish("out.x", payload) end
  end,
}
