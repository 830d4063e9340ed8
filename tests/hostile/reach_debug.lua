-- The limits themselves, by debug.sethook.
return {
  subjects = { "hostile.reach_debug" },
  on_message = function(msg)
    debug.sethook()
  end,
}
