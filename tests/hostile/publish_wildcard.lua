-- A subject with a wildcard.
return {
  subjects = { "hostile.publish_wildcard" },
  on_message = function(msg)
    mill.publish("out.>", "x")
  end,
}
