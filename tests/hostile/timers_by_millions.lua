-- Millions of timers from one call.
return {
  subjects = { "hostile.timers_by_millions" },
  on_message = function(msg)
    for i = 1, 5000000 do mill.after(3600, function() end) end
  end,
}
