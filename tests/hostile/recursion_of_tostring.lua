-- A __tostring that asks for itself.
return {
  subjects = { "hostile.recursion_of_tostring" },
  on_message = function(msg)
    local t = setmetatable({}, { __tostring = function(t) return tostring(t) end })
    return tostring(t)
  end,
}
