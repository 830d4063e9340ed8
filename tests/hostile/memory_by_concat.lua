-- A table.concat over more than there is.
return {
  subjects = { "hostile.memory_by_concat" },
  on_message = function(msg)
    return table.concat({}, ",", 1, 1 << 60)
  end,
}
