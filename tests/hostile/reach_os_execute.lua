-- A shell, by os.execute.
return {
  subjects = { "hostile.reach_os_execute" },
  on_message = function(msg)
    return os.execute("true")
  end,
}
