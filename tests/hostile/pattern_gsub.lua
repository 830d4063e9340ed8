-- A blow-up in string.gsub.
return {
  subjects = { "hostile.pattern_gsub" },
  on_message = function(msg)
    return (msg.raw:gsub(".-.-b", ""))
  end,
}
