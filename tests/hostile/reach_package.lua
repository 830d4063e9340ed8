-- C libraries, by package.loadlib.
return {
  subjects = { "hostile.reach_package" },
  on_message = function(msg)
    return package.loadlib("libc.so.6", "system")
  end,
}
