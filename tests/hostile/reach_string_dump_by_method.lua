-- The same through the metatable of strings.
return {
  subjects = { "hostile.reach_string_dump_by_method" },
  on_message = function(msg)
    return ("x").dump(function() end)
  end,
}
