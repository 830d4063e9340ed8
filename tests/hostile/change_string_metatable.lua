-- What all strings of all rules do.
return {
  subjects = { "hostile.change_string_metatable" },
  on_message = function(msg)
    getmetatable("").__index = function() return "changed" end
  end,
}
