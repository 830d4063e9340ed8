-- The same, in the __close of a coroutine.
return {
  subjects = { "hostile.recursion_in_pcall_in_close" },
  on_message = function(msg)
    local function down() pcall(down) return down() + 1 end
    local co = coroutine.create(function()
      local block <close> = setmetatable({}, { __close = down })
      coroutine.yield()
    end)
    coroutine.resume(co)
    coroutine.close(co)
    while true do end
  end,
}
