-- A header with a zero byte.
return {
  subjects = { "hostile.publish_zero_in_header" },
  on_message = function(msg)
    mill.publish("out.x", "x", { headers = { A = "b\0c" } })
  end,
}
