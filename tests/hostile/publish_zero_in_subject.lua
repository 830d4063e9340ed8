-- A subject with a zero byte.
return {
  subjects = { "hostile.publish_zero_in_subject" },
  on_message = function(msg)
    mill.publish("out.a\0b", "x")
  end,
}
