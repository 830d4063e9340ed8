-- An endless loop in a chain of metamethods.
return {
  subjects = { "hostile.loop_in_index" },
  on_message = function(msg)
    local t = setmetatable({}, { __index = function(t, k) while true do k = k + 1 end end })
    return t[1]
  end,
}
