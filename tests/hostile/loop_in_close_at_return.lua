-- An endless loop in a __close, which runs at the end of the handler.
return {
  subjects = { "hostile.loop_in_close_at_return" },
  on_message = function(msg)
    local block <close> = setmetatable({}, { __close = function() while true do end end })
    return block
  end,
}
