-- Move what is due from the schedule to the place before the first stage.
-- ARGV: prefix, now (ms), at most, place. Returns {moved, nudge wanted}.
local p = ARGV[1]
local due = redis.call('ZRANGEBYSCORE', p .. 'schedule', '-inf', ARGV[2], 'LIMIT', 0, tonumber(ARGV[3]))
if #due == 0 then return {0, 0} end
for _, group in ipairs(due) do
  redis.call('ZREM', p .. 'schedule', group)
  redis.call('RPUSH', p .. 'place:' .. ARGV[4], group)
  local key = p .. 'msg:' .. string.match(group, '^[^/]+')
  for number in string.gmatch(string.match(group, '/(.*)'), '[^,]+') do
    redis.call('HSET', key, 'w:' .. number, 'place:' .. ARGV[4] .. '|' .. group)
  end
end
local nudge = 0
if redis.call('SET', p .. 'nudge:' .. ARGV[4], 1, 'NX', 'PX', NUDGE) then nudge = 1 end
return {#due, nudge}
