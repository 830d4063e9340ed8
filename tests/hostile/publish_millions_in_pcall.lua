-- The same, deaf to the answer.
return {
  subjects = { "hostile.publish_millions_in_pcall" },
  on_message = function(msg)
    while true do pcall(mill.publish, "out.x", "x") end
  end,
}
