-- The same with numbers of a megabyte.
return {
  subjects = { "hostile.loop_of_numbers" },
  on_message = function(msg)
    local s = ("0"):rep(4 << 20)
    while true do pcall(tonumber, s) pcall(utf8.len, s) pcall(string.packsize, s) end
  end,
}
