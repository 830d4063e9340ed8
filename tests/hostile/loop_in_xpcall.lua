-- An endless loop in a function and in the handler of its error.
return {
  subjects = { "hostile.loop_in_xpcall" },
  on_message = function(msg)
    local function loop() while true do end end
    while true do xpcall(loop, loop) end
  end,
}
