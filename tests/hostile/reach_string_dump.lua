-- The source of bytecode.
return {
  subjects = { "hostile.reach_string_dump" },
  on_message = function(msg)
    return string.dump(function() end)
  end,
}
