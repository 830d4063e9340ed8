-- A comparison that sorts.
return {
  subjects = { "hostile.recursion_of_sort" },
  on_message = function(msg)
    local function less() table.sort({ 1, 2 }, less) return false end
    return less()
  end,
}
