-- A function that calls itself without end.
return {
  subjects = { "hostile.recursion" },
  on_message = function(msg)
    local function down() return 1 + down() end
    return down()
  end,
}
