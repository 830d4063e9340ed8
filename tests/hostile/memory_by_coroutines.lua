-- Coroutines that wait for ever.
return {
  subjects = { "hostile.memory_by_coroutines" },
  on_message = function(msg)
    local waiting = {}
    while true do
      local co = coroutine.create(coroutine.yield)
      coroutine.resume(co)
      waiting[#waiting + 1] = co
    end
  end,
}
