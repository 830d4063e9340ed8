-- The same with an operator: a copy of 4 MB each time.
return {
  subjects = { "hostile.loop_of_copies" },
  on_message = function(msg)
    local s = ("x"):rep(4 << 20)
    while true do local copy = s .. "y" end
  end,
}
