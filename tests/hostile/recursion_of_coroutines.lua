-- A coroutine in a coroutine in a coroutine.
return {
  subjects = { "hostile.recursion_of_coroutines" },
  on_message = function(msg)
    local function down() return coroutine.wrap(down)() end
    return down()
  end,
}
