-- A table that contains itself.
return {
  subjects = { "hostile.publish_cycle" },
  on_message = function(msg)
    local t = {}
    t.t = t
    mill.publish("out.x", t)
  end,
}
