-- Keep a message: content, envelope, recipients, and its place before the first stage, all or nothing.
-- ARGV: prefix, id, accepted (ms), envelope, content ('' if it is kept elsewhere), place, group, then pairs of recipient number and JSON.
-- Returns 0 if the id is known already (accepting again is harmless), 1 kept, 2 kept and the place wants a nudge.
local p = ARGV[1]
local id = ARGV[2]
local key = p .. 'msg:' .. id
if redis.call('EXISTS', key) == 1 then return 0 end
if ARGV[5] ~= '' then redis.call('SET', p .. 'body:' .. id, ARGV[5]) end
redis.call('HSET', key, 'envelope', ARGV[4])
local open = 0
for i = 8, #ARGV, 2 do
  redis.call('HSET', key, 'r:' .. ARGV[i], ARGV[i + 1])
  open = open + 1
end
redis.call('HSET', key, 'open', open)
stand('place:' .. ARGV[6], ARGV[7])
redis.call('ZADD', p .. 'messages', ARGV[3], id)
redis.call('RPUSH', p .. 'place:' .. ARGV[6], ARGV[7])
if redis.call('SET', p .. 'nudge:' .. ARGV[6], 1, 'NX', 'PX', NUDGE) then return 2 end
return 1
