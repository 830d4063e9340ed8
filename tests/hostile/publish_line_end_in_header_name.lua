-- A header's name with a line end.
return {
  subjects = { "hostile.publish_line_end_in_header_name" },
  on_message = function(msg)
    mill.publish("out.x", "x", { headers = { ["A\r\nB"] = "c" } })
  end,
}
