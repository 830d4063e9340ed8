-- A number that JSON cannot say.
return {
  subjects = { "hostile.publish_nan" },
  on_message = function(msg)
    mill.publish("out.x", { value = 0 / 0 })
  end,
}
