-- The same, to be read.
return {
  subjects = { "hostile.recursion_of_payload" },
  on_message = function(msg)
    return mill.json.decode(("["):rep(100000) .. ("]"):rep(100000))
  end,
}
