-- A timer that would always be due.
return {
  subjects = { "hostile.timer_of_no_seconds" },
  on_message = function(msg)
    mill.every(0, function() end)
  end,
}
