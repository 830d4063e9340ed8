-- Files, by os.remove and os.rename.
return {
  subjects = { "hostile.reach_os_remove" },
  on_message = function(msg)
    return (os.rename or os.tmpname or os.remove)("tidemill.lua")
  end,
}
