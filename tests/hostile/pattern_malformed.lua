-- A pattern that is wrong, from data.
return {
  subjects = { "hostile.pattern_malformed" },
  on_message = function(msg)
    return msg.raw:find("[" .. msg.raw)
  end,
}
