-- The same, behind the back of its metatable.
return {
  subjects = { "hostile.change_mill_by_rawset" },
  on_message = function(msg)
    rawset(mill, "publish", function() end)
  end,
}
