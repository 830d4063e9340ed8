-- The globals of the others.
return {
  subjects = { "hostile.change_globals" },
  on_message = function(msg)
    _G.shared = "changed"
    return shared
  end,
}
