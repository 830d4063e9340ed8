-- The end of the process, by os.exit.
return {
  subjects = { "hostile.reach_os_exit" },
  on_message = function(msg)
    os.exit(3)
  end,
}
