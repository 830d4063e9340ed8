-- Bytes that are no UTF-8, in a document.
return {
  subjects = { "hostile.publish_broken_text" },
  on_message = function(msg)
    mill.publish("out.x", { text = "\xff" })
  end,
}
