-- Make the verdicts on claimed groups true, each all or nothing, if the lease is still ours.
-- ARGV: prefix, token, retention (s), then for each group its name and its changes (JSON):
--   number n (with the token: which commit this is), recipients {number: json}, added [number...], settled n,
--   push [{list, group, nudge, payload, into}], schedule [{group, at, to}] (`to`: its destination, if it has come so far),
--   hold [{group, at}], forget [payload hash],
--   where webhooks are told: tell (how many outcomes are kept at most), outcomes [number...]
-- Returns for each group {0} if the lease was lost (nothing is written), else {1, open, at, nudge, nudge, ...}, where
-- `at` is when the message was accepted (ms) if it is settled now and its content is not in Redis, else ''.
-- A connection may break when this is done and not yet answered, and whoever asked, asks again: so the last commit of a
-- group is kept with the message, in "c:<last of its name>" as "<token>.<number> <open> <at>", and is answered once more.
-- Its nudges are then all given, as those of the first time may have got lost with the answer.
local p, token = ARGV[1], ARGV[2]
local claim, who = p .. 'claim:' .. token, string.sub(token, 1, 12) .. '.'
-- A connection that waits at the destination is woken, and is then at work there.
local function wake(list)
  local destination = string.match(list, '^ready:(.*)$')
  local token = destination and redis.call('GET', p .. 'parked:' .. destination)
  if not token then return false end
  redis.call('DEL', p .. 'parked:' .. destination)
  redis.call('SET', p .. 'nudge:to:' .. destination, 1, 'PX', WORKED)
  redis.call('PUBLISH', p .. 'parked', token)
  return true
end
local function again(key, field, c, mark)
  local made, open, at = string.match(redis.call('HGET', key, field) or '', '^(%S+) (%S+) (%S*)$')
  if made ~= mark then return {0} end
  local out = {1, tonumber(open), at}
  for _, entry in ipairs(c.push) do out[#out + 1] = entry.nudge end
  return out
end
local function commit(group, json)
  local c = cjson.decode(json)
  local id, last = string.match(group, '^([^/]+)/.-([^,/]+)$')
  local key, field, mark = p .. 'msg:' .. id, 'c:' .. last, who .. c.number
  if redis.call('HDEL', claim, group) == 0 then return again(key, field, c, mark) end
  local change = 0 - c.settled
  for _, number in ipairs(c.added) do change = change + 1 - redis.call('HEXISTS', key, 'r:' .. number) end
  for _, entry in ipairs(c.push) do if entry.owed then change = change + 1 end end
  local open, at = redis.call('HINCRBY', key, 'open', change), ''
  if open <= 0 then
    if redis.call('DEL', p .. 'body:' .. id) == 0 then at = redis.call('ZSCORE', p .. 'messages', id) or '' end
    redis.call('ZREM', p .. 'messages', id)
  end
  local fields = {field, mark .. ' ' .. open .. ' ' .. at}
  for number, value in pairs(c.recipients) do
    fields[#fields + 1] = 'r:' .. number
    fields[#fields + 1] = value
  end
  for _, hash in ipairs(c.forget) do redis.call('HDEL', p .. hash, group) end
  for _, number in ipairs(c.outcomes or {}) do tell(id, number, c.recipients[number], c.tell) end
  local out = {1, open, at}
  for _, entry in ipairs(c.push) do
    push('RPUSH', entry.list, entry.group)
    if entry.payload then redis.call('HSET', p .. entry.into, entry.group, entry.payload) end
    if not entry.owed then
      stand(entry.list, entry.group, fields)
      fields = {}
    end
    if entry.nudge and not wake(entry.list) and redis.call('SET', p .. 'nudge:' .. entry.nudge, 1, 'NX', 'PX', NUDGE) then
      out[#out + 1] = entry.nudge
    end
  end
  for _, later in ipairs(c.schedule) do
    put_off(later.group, later.at, later.to)
  end
  for _, held in ipairs(c.hold) do
    redis.call('HSET', p .. 'held', held.group, held.at)
    stand('held', held.group)
  end
  write(key, fields)
  if open <= 0 then redis.call('EXPIRE', key, tonumber(ARGV[3])) end
  return out
end
local results = {}
for i = 4, #ARGV, 2 do results[#results + 1] = commit(ARGV[i], ARGV[i + 1]) end
if redis.call('HLEN', claim) <= 1 then
  redis.call('DEL', claim)
  redis.call('ZREM', p .. 'claims', token)
end
return results
