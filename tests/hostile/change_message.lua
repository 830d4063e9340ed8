-- The message that others get as well.
return {
  subjects = { "hostile.change_message" },
  on_message = function(msg)
    msg.subject = "changed"
  end,
}
