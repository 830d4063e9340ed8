-- The collector: stopped, it would let memory grow.
return {
  subjects = { "hostile.reach_collectgarbage" },
  on_message = function(msg)
    collectgarbage("stop")
  end,
}
