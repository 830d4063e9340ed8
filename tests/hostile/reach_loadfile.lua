-- Other files, by dofile.
return {
  subjects = { "hostile.reach_loadfile" },
  on_message = function(msg)
    return dofile("tidemill.lua")
  end,
}
