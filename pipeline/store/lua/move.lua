-- An operator's hand: take one recipient out of where it stands and put it elsewhere. A claimed recipient is busy.
-- ARGV: prefix, message id, number, target ('route' | 'held' | 'failed' | 'dropped'), now (ms), recipient JSON,
--       place of the first stage, owed group or '', owed payload, retention (s), stage of notices,
--       how many outcomes are kept for webhooks (0: none).
-- Returns 'moved', 'busy' (claimed, or no longer as the recipient JSON knows it), 'settled' or 'unknown'; 'moved <at>' if
-- the message, accepted at that time (ms), is settled now and its content is not in Redis.
local p, id, number, target = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = p .. 'msg:' .. id
local stands = redis.call('HGET', key, 'w:' .. number)
if not stands then
  if redis.call('EXISTS', key) == 1 then return 'settled' end
  return 'unknown'
end
local first = string.match(stands, '^=(.*)$')
if first then stands = redis.call('HGET', key, 'w:' .. first) end
local function state_of(json)
  local one = cjson.decode(json)
  return one.state, one.attempts .. tostring(one.copied) .. tostring(one.delay_noticed)
end
local state, past = state_of(redis.call('HGET', key, 'r:' .. number))
if state == 'delivered' or state == 'relayed' or state == 'failed' or state == 'dropped' then return 'settled' end
local _, known = state_of(ARGV[6])
if past ~= known then return 'busy' end
local where, group = string.match(stands, '^(.-)|(.*)$')
local removed
local destination = destination_of(where)
local deferred = destination or where == 'schedule'
if deferred then removed = redis.call('ZREM', p .. 'schedule', group)
elseif where == 'held' then removed = redis.call('HDEL', p .. 'held', group)
else removed = redis.call('LREM', p .. where, 1, group) end
if removed == 0 then
  if redis.call('HDEL', p .. 'claim:aside:' .. group, group) == 0 then return 'busy' end
  redis.call('DEL', p .. 'claim:aside:' .. group)
  redis.call('ZREM', p .. 'claims', 'aside:' .. group)
end
if destination then index(destination, group) end
-- A hand-over is about its whole group: whoever stays starts again at the first stage.
local handed = string.sub(where, 1, 6) == 'place:' and redis.call('HDEL', p .. 'item:' .. string.sub(where, 7), group)
if handed == 1 then where = 'place:' .. ARGV[7] end
local rest = {}
for other in string.gmatch(string.match(group, '/(.*)'), '[^,]+') do
  if other ~= number then rest[#rest + 1] = other end
end
if #rest > 0 then
  local left = id .. '/' .. table.concat(rest, ',')
  if deferred then put_off(left, ARGV[5], destination)
  else
    if where == 'held' then redis.call('HSET', p .. 'held', left, ARGV[5]) else push('RPUSH', where, left) end
    stand(where, left)
  end
end
local single = id .. '/' .. number
local out = 'moved'
redis.call('HSET', key, 'r:' .. number, ARGV[6])
if target == 'route' then
  redis.call('RPUSH', p .. 'place:' .. ARGV[7], single)
  stand('place:' .. ARGV[7], single)
elseif target == 'held' then
  redis.call('HSET', p .. 'held', single, ARGV[5])
  stand('held', single)
else
  if tonumber(ARGV[12]) > 0 then tell(id, number, ARGV[6], ARGV[12]) end
  redis.call('HDEL', key, 'w:' .. number)
  local change = -1
  if ARGV[8] ~= '' then
    redis.call('RPUSH', p .. 'place:' .. ARGV[11], ARGV[8])
    redis.call('HSET', p .. 'item:' .. ARGV[11], ARGV[8], ARGV[9])
    change = 0
  end
  local open = redis.call('HINCRBY', key, 'open', change)
  if open <= 0 then
    if redis.call('DEL', p .. 'body:' .. id) == 0 then out = 'moved ' .. (redis.call('ZSCORE', p .. 'messages', id) or '') end
    redis.call('ZREM', p .. 'messages', id)
    redis.call('EXPIRE', key, tonumber(ARGV[10]))
  end
end
return out
