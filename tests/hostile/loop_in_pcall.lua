-- An endless loop that catches whatever stops it.
return {
  subjects = { "hostile.loop_in_pcall" },
  on_message = function(msg)
    while true do
      pcall(function() while true do end end)
    end
  end,
}
