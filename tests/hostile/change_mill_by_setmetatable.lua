-- The same, with another metatable.
return {
  subjects = { "hostile.change_mill_by_setmetatable" },
  on_message = function(msg)
    setmetatable(mill, {})
  end,
}
