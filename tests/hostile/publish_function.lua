-- A function in a table.
return {
  subjects = { "hostile.publish_function" },
  on_message = function(msg)
    mill.publish("out.x", { deep = { value = print } })
  end,
}
