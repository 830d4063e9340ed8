-- An endless loop in a __tostring, called by the library.
return {
  subjects = { "hostile.loop_in_tostring" },
  on_message = function(msg)
    print(setmetatable({}, { __tostring = function() while true do end end }))
  end,
}
