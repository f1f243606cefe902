-- Move what is due from the schedule to the place before the first stage, as far as there is room: the rest waits where
-- it is, so that new mail never stands behind a whole queue that became due at once.
-- ARGV: prefix, now (ms), at most, place, groups that may wait there. Returns {moved, nudge wanted}.
local p, place = ARGV[1], 'place:' .. ARGV[4]
local room = math.min(tonumber(ARGV[3]), ARGV[5] - redis.call('LLEN', p .. place))
if room <= 0 then return {0, 0} end
local due = redis.call('ZRANGEBYSCORE', p .. 'schedule', '-inf', ARGV[2], 'LIMIT', 0, room)
if #due == 0 then return {0, 0} end
redis.call('ZREM', p .. 'schedule', unpack(due))
redis.call('RPUSH', p .. place, unpack(due))
for _, group in ipairs(due) do
  local id, first = string.match(group, '^([^/]+)/([^,]+)')
  local stands = redis.call('HGET', p .. 'msg:' .. id, 'w:' .. first) or ''
  local destination = destination_of(string.match(stands, '^(.*)|') or '')
  if destination then index(destination, group) end
  step(place, group)
end
local nudge = 0
if redis.call('SET', p .. 'nudge:' .. ARGV[4], 1, 'NX', 'PX', NUDGE) then nudge = 1 end
return {#due, nudge}
