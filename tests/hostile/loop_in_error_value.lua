-- An endless loop in the __tostring of an error value, called after the end.
return {
  subjects = { "hostile.loop_in_error_value" },
  on_message = function(msg)
    error(setmetatable({}, { __tostring = function() while true do end end }))
  end,
}
