-- A metamethod that calls itself, through C.
return {
  subjects = { "hostile.recursion_of_metamethods" },
  on_message = function(msg)
    local t = setmetatable({}, {})
    getmetatable(t).__index = function(_, k) return t[k + 1] end
    return t[1]
  end,
}
