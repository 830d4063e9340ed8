-- Twenty-eight items that may be there or not: 2^28 ways.
return {
  subjects = { "hostile.pattern_optional_items" },
  on_message = function(msg)
    return (("a"):rep(28)):match(("a?"):rep(28) .. ("a"):rep(28) .. "b")
  end,
}
