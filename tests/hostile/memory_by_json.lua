-- The same with our own encoder.
return {
  subjects = { "hostile.memory_by_json" },
  on_message = function(msg)
    local list = { ("x"):rep(1000) }
    for _ = 1, 40 do list = { list, list } end
    return mill.json.encode(list)
  end,
}
