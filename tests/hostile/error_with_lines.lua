-- An error of many lines and a zero byte.
return {
  subjects = { "hostile.error_with_lines" },
  on_message = function(msg)
    error("one\ntwo\0three\r\n")
  end,
}
