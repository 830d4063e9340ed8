-- A subject with a blank, which would be two words on the wire.
return {
  subjects = { "hostile.publish_blank_in_subject" },
  on_message = function(msg)
    mill.publish("out.a b", "x")
  end,
}
