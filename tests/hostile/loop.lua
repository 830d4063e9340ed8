-- An endless loop.
return {
  subjects = { "hostile.loop" },
  on_message = function(msg)
    while true do end
  end,
}
