-- A replacement that never comes, for string.gsub.
return {
  subjects = { "hostile.loop_in_replacement" },
  on_message = function(msg)
    msg.raw:gsub(".", function() while true do end end)
  end,
}
