-- The innocent way to trim, on a payload of blanks in the middle.
return {
  subjects = { "hostile.pattern_trim" },
  on_message = function(msg)
    return msg.raw:gsub("x", " "):gsub("%s+$", "") .. ("x" .. (" "):rep(65536) .. "x"):gsub("%s+$", "")
  end,
}
