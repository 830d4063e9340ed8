-- A pattern with more items than the C stack should bear.
return {
  subjects = { "hostile.pattern_too_deep" },
  on_message = function(msg)
    return (("a"):rep(5000)):match(("a?"):rep(5000))
  end,
}
