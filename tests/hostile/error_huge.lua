-- An error of a megabyte.
return {
  subjects = { "hostile.error_huge" },
  on_message = function(msg)
    error(("x"):rep(1 << 20))
  end,
}
