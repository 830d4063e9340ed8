-- A header with a line end, which would be a second header.
return {
  subjects = { "hostile.publish_line_end_in_header" },
  on_message = function(msg)
    mill.publish("out.x", "x", { headers = { A = "b\r\nNats-Msg-Id: c" } })
  end,
}
