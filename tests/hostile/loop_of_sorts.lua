-- Many calls of a function that takes long and that the count of instructions does not see.
return {
  subjects = { "hostile.loop_of_sorts" },
  on_message = function(msg)
    local t = {}
    for i = 1, 200000 do t[i] = i end
    while true do pcall(table.sort, t) end
  end,
}
