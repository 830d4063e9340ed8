-- The same with a document of a megabyte.
return {
  subjects = { "hostile.loop_of_json" },
  on_message = function(msg)
    local text = "[" .. ("[],"):rep(300000) .. "1]"
    while true do pcall(mill.json.decode, text) end
  end,
}
