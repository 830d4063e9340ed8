-- A replacement that replaces.
return {
  subjects = { "hostile.recursion_of_gsub" },
  on_message = function(msg)
    local function again(s) return s:gsub(".", again) end
    return again("x")
  end,
}
