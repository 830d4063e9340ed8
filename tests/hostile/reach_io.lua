-- Files, by io.
return {
  subjects = { "hostile.reach_io" },
  on_message = function(msg)
    return io.open("/etc/passwd"):read("a")
  end,
}
