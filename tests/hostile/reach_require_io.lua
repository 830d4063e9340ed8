-- A library that Lua has loaded, by require.
return {
  subjects = { "hostile.reach_require_io" },
  on_message = function(msg)
    return require("io")
  end,
}
