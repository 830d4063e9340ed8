-- The same with lines for the log.
return {
  subjects = { "hostile.loop_of_logs" },
  on_message = function(msg)
    local s = ("x"):rep(4 << 20)
    while true do mill.log.debug(s) end
  end,
}
