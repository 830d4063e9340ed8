-- A subject of the server's: this one would delete a stream.
return {
  subjects = { "hostile.publish_server_subject" },
  on_message = function(msg)
    mill.publish("$JS.API.STREAM.DELETE.hostile", "")
  end,
}
