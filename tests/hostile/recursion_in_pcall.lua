-- The same, catching each overflow.
return {
  subjects = { "hostile.recursion_in_pcall" },
  on_message = function(msg)
    local function down() pcall(down) return down() + 1 end
    return down()
  end,
}
