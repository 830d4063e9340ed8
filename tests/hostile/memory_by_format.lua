-- A string.format with a width that would take all there is.
return {
  subjects = { "hostile.memory_by_format" },
  on_message = function(msg)
    return ("%999999999d"):format(1)
  end,
}
