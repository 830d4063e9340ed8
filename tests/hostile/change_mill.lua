-- The host's functions.
return {
  subjects = { "hostile.change_mill" },
  on_message = function(msg)
    mill.publish = function() end
  end,
}
