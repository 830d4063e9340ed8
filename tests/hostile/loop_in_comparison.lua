-- A comparison that never answers, for table.sort.
return {
  subjects = { "hostile.loop_in_comparison" },
  on_message = function(msg)
    table.sort({ 3, 1, 2 }, function() while true do end end)
  end,
}
