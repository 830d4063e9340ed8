-- Forty items that each may be short or long.
return {
  subjects = { "hostile.pattern_forty_shortest" },
  on_message = function(msg)
    return (("a"):rep(60)):find(("a-"):rep(40) .. "b")
  end,
}
