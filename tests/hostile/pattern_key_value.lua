-- An innocent pattern, and a payload of letters only.
return {
  subjects = { "hostile.pattern_key_value" },
  on_message = function(msg)
    return msg.raw:match("(%w+)=(%w+)")
  end,
}
