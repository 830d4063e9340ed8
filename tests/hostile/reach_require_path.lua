-- A file outside of the rules, by require.
return {
  subjects = { "hostile.reach_require_path" },
  on_message = function(msg)
    return require("../../tidemill")
  end,
}
