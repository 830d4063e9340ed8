-- The library that ("x"):upper() finds, in what the rule can see of it.
return {
  subjects = { "hostile.change_string_library" },
  on_message = function(msg)
    string.upper = function() return "changed" end
    table.concat = nil
    math.floor = nil
    error("only in this rule: " .. ("x"):upper())
  end,
}
