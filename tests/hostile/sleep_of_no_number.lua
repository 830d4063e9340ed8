-- A sleep until not-a-number.
return {
  subjects = { "hostile.sleep_of_no_number" },
  on_message = function(msg)
    mill.sleep(0 / 0)
  end,
}
