-- The same with searches for what is not there.
return {
  subjects = { "hostile.loop_of_finds" },
  on_message = function(msg)
    local s = ("x"):rep(4 << 20)
    while true do s:find("xy", 1, true) end
  end,
}
