-- Reads, makes, changes and deletes keys of a bucket that all workers and processes share.
local kv = mill.kv("soak")

local function write(key, time)
  local value, revision = kv:get_json(key)
  if value then
    if time % 11 == 0 then return kv:delete(key) end
    return kv:update(key, { time = time, before = value.time }, revision)
  elseif revision then
    return nil, revision -- why there is no answer
  end
  return kv:create(key, { time = time })
end

return {
  subjects = { "jobs.bucket" },
  concurrency = 50,
  on_message = function(msg)
    local time = msg.data.time
    local done, why = write("key-" .. time // 50 % 300, time)
    -- Somebody else was faster: that is done, too.
    if not done and why ~= "exists" and why ~= "wrong revision" then return msg:retry(0.2) end
    mill.publish("receipts.bucket", { time = time })
  end,
}
