-- The data of the message: this rule's own copy.
return {
  subjects = { "hostile.change_data" },
  on_message = function(msg)
    local data = mill.json.decode('{"value":1}')
    data.value = "changed"
    error("only in this rule: " .. data.value)
  end,
}
