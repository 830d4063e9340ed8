-- Tables that grow until there is no memory.
return {
  subjects = { "hostile.memory_by_tables" },
  on_message = function(msg)
    local t = {}
    while true do t[#t + 1] = {} end
  end,
}
