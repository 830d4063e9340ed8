-- A string.rep of nothing, 2^60 times: no memory, but for ever.
return {
  subjects = { "hostile.memory_by_empty_rep" },
  on_message = function(msg)
    assert(("" ):rep(1 << 60) == "")
    return ("x"):rep(1 << 60, ",")
  end,
}
