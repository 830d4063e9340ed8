-- A document nested far deeper than anybody reads.
return {
  subjects = { "hostile.recursion_of_data" },
  on_message = function(msg)
    local t = {}
    for _ = 1, 100000 do t = { t } end
    mill.publish("out.deep", t)
  end,
}
