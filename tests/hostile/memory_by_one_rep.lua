-- One string.rep that would take all there is.
return {
  subjects = { "hostile.memory_by_one_rep" },
  on_message = function(msg)
    return ("x"):rep(1 << 40)
  end,
}
