-- No subject.
return {
  subjects = { "hostile.publish_empty_subject" },
  on_message = function(msg)
    mill.publish("", "x")
  end,
}
