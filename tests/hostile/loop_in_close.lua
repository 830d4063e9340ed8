-- An endless loop in a __close, which runs when an error passes.
return {
  subjects = { "hostile.loop_in_close" },
  on_message = function(msg)
    local block <close> = setmetatable({}, { __close = function() while true do end end })
    error("on to the __close")
  end,
}
