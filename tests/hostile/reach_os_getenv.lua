-- Passwords in the environment.
return {
  subjects = { "hostile.reach_os_getenv" },
  on_message = function(msg)
    return os.getenv("NATS_CREDS")
  end,
}
