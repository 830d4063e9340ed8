-- A small value that is a huge text: lua-cjson writes it outside of the counted memory.
return {
  subjects = { "hostile.memory_by_cjson" },
  on_message = function(msg)
    local list = { "x" }
    for _ = 1, 40 do list = { list, list } end
    return require("cjson").encode(list)
  end,
}
