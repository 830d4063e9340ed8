-- The real global table, by the environment of a metatable.
return {
  subjects = { "hostile.reach_environment" },
  on_message = function(msg)
    return getmetatable(_ENV).__index
  end,
}
