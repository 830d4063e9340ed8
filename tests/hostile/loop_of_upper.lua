-- The same with string.upper.
return {
  subjects = { "hostile.loop_of_upper" },
  on_message = function(msg)
    local s = ("x"):rep(4 << 20)
    while true do s:upper() end
  end,
}
