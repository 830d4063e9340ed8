-- A blow-up in string.gmatch.
return {
  subjects = { "hostile.pattern_gmatch" },
  on_message = function(msg)
    for word in msg.raw:gmatch("(.-)(.-)b") do print(word) end
  end,
}
