-- The same, in a coroutine.
return {
  subjects = { "hostile.recursion_in_pcall_in_coroutine" },
  on_message = function(msg)
    local function down() pcall(down) return down() + 1 end
    return coroutine.wrap(down)()
  end,
}
