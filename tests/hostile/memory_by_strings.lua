-- A string that doubles until there is no memory.
return {
  subjects = { "hostile.memory_by_strings" },
  on_message = function(msg)
    local s = "x"
    while true do s = s .. s end
  end,
}
