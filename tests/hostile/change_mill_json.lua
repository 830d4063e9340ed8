-- A table inside the host's.
return {
  subjects = { "hostile.change_mill_json" },
  on_message = function(msg)
    mill.json.encode = function() return "changed" end
  end,
}
