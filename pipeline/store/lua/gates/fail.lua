-- Note that an address could not be reached: open its circuit once this has happened often enough in a row.
-- ARGV: prefix, door, token, first pause (ms), longest pause (ms), factor that varies the pause, failures in a row that
--   open, trouble, text.
-- Of an open circuit only its probe has news; whoever knocked before it opened has not. Returns {0}, or {1, since (ms),
-- next try (ms), how many pauses there were} if it was opened now, for the first time or anew.
local p, door, now = ARGV[1], ARGV[2], clock()
local key = p .. 'circuit:' .. door
local longest = tonumber(ARGV[5])
local at, token = unpack(redis.call('HMGET', key, 'until', 'token'))
local function keep(ms)
  redis.call('PEXPIRE', key, math.ceil(ms))
  redis.call('ZREMRANGEBYSCORE', p .. 'circuits', '-inf', now)
  redis.call('ZADD', p .. 'circuits', now + math.ceil(ms), door)
end
if at then
  if token ~= ARGV[3] then return {0} end
else
  redis.call('HSETNX', key, 'since', now)
  if redis.call('HINCRBY', key, 'failures', 1) < tonumber(ARGV[7]) then
    keep(longest)
    return {0}
  end
end
local pauses = redis.call('HINCRBY', key, 'pauses', 1)
local pause = math.min(tonumber(ARGV[4]) * 2 ^ math.min(pauses - 1, 40), longest) * tonumber(ARGV[6])
local upto = math.ceil(now + pause)
redis.call('HSET', key, 'until', upto, 'trouble', ARGV[8], 'text', ARGV[9])
redis.call('HDEL', key, 'token', 'ends')
keep(pause + longest) -- who is not tried for so long after the pause is forgotten
return {1, tonumber(redis.call('HGET', key, 'since')), upto, pauses}
