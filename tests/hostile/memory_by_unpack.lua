-- A table.unpack over more than there is.
return {
  subjects = { "hostile.memory_by_unpack" },
  on_message = function(msg)
    return table.unpack({}, 1, 1 << 60)
  end,
}
