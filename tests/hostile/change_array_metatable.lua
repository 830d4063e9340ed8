-- What all arrays of all documents do.
return {
  subjects = { "hostile.change_array_metatable" },
  on_message = function(msg)
    mill.json.array_mt.__index = function() return "changed" end
  end,
}
