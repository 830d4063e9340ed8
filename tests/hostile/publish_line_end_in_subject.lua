-- A subject with a line end, which would be a second command on the wire.
return {
  subjects = { "hostile.publish_line_end_in_subject" },
  on_message = function(msg)
    mill.publish("out.a\r\nPUB out.b 0\r\n", "x")
  end,
}
