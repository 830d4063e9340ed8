-- The same as a request.
return {
  subjects = { "hostile.publish_request_of_server" },
  on_message = function(msg)
    mill.request("$JS.API.STREAM.DELETE.hostile", "")
  end,
}
