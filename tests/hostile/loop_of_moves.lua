-- The same with table.move, insert and remove.
return {
  subjects = { "hostile.loop_of_moves" },
  on_message = function(msg)
    local t = table.move({ 1 }, 1, 1, 1000000, {})
    for i = 1, 1000000 do t[i] = i end
    while true do
      table.move(t, 1, #t, 2)
      table.remove(t, 1)
      table.insert(t, 1, 1)
    end
  end,
}
