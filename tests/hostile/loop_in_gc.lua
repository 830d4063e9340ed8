-- An endless loop in a __gc, where Lua has its hooks off.
return {
  subjects = { "hostile.loop_in_gc" },
  on_message = function(msg)
    setmetatable({}, { __gc = function() while true do end end })
  end,
}
