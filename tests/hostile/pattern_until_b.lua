-- An innocent pattern, and a payload without a b.
return {
  subjects = { "hostile.pattern_until_b" },
  on_message = function(msg)
    return msg.raw:find(".-b")
  end,
}
