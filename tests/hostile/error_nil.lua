-- An error that is nothing.
return {
  subjects = { "hostile.error_nil" },
  on_message = function(msg)
    error()
  end,
}
