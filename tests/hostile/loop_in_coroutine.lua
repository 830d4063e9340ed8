-- An endless loop in a coroutine in a coroutine.
return {
  subjects = { "hostile.loop_in_coroutine" },
  on_message = function(msg)
    while true do
      coroutine.resume(coroutine.create(function()
        coroutine.wrap(function() while true do end end)()
      end))
    end
  end,
}
