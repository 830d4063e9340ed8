-- Memory that is asked for again whenever it was refused.
return {
  subjects = { "hostile.memory_in_pcall" },
  on_message = function(msg)
    local kept = {}
    while true do
      pcall(function() while true do kept[#kept + 1] = ("x"):rep(100000, #kept) end end)
    end
  end,
}
