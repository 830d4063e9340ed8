-- An error that is a table.
return {
  subjects = { "hostile.error_without_text" },
  on_message = function(msg)
    error({ code = 5 })
  end,
}
