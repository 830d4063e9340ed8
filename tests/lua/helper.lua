-- The rule with which the tests beside it try the helpers: `make` makes one, any other subject is
-- one of its methods. What the method returns is published as `result`.
local made

return {
  subjects = { "*" },
  on_message = function(msg)
    if msg.subject == "make" then
      local options = msg.data.options
      if msg.data.on_close then
        options.on_close = function(w) mill.publish("closed", w) end
      end
      made = mill[msg.data.helper](options)
      return
    end
    local returned = table.pack(made[msg.subject](made, table.unpack(msg.data)))
    for i = 1, returned.n do
      if returned[i] == nil then returned[i] = mill.json.null end
    end
    returned.n = nil
    mill.publish("result", mill.json.array(returned))
  end,
}
