-- Set a claimed group aside for a time: it keeps its place in name, others pass, and the reaper brings it back.
-- ARGV: prefix, token, group, rest (ms). Returns 0 if the lease was lost, else 1.
local p, token, group = ARGV[1], ARGV[2], ARGV[3]
local claim = p .. 'claim:' .. token
local list = redis.call('HGET', claim, group)
if not list then return 0 end
redis.call('HDEL', claim, group)
if redis.call('HLEN', claim) <= 1 then
  redis.call('DEL', claim)
  redis.call('ZREM', p .. 'claims', token)
end
redis.call('HSET', p .. 'claim:aside:' .. group, '', list, group, list)
redis.call('ZADD', p .. 'claims', clock() + ARGV[4], 'aside:' .. group)
return 1
