-- The same with patterns, each inside its budget.
return {
  subjects = { "hostile.loop_of_patterns" },
  on_message = function(msg)
    while true do pcall(string.find, msg.raw, ".-.-b") end
  end,
}
