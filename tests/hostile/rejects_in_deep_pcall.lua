-- A verdict below a hundred thousand pcalls.
return {
  subjects = { "hostile.rejects_in_deep_pcall" },
  on_message = function(msg)
    local function down(n)
      if n == 0 then return msg:reject("deep") end
      pcall(down, n - 1)
      return down(n)
    end
    down(50000)
  end,
}
