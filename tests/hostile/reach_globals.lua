-- The real global table, by _G.
return {
  subjects = { "hostile.reach_globals" },
  on_message = function(msg)
    return _G._G.io
  end,
}
