-- Bytecode, by load.
return {
  subjects = { "hostile.reach_load" },
  on_message = function(msg)
    return load("\27Lua")
  end,
}
