-- Ask whether an address may be knocked at. While a circuit is open nobody may; when its pause is over, one at a time,
-- which may ask again to have longer.
-- ARGV: prefix, door, token, how long the try may take if it is let in (ms), longest pause (ms).
-- Returns {'free'}, {'probe'} (let in, and to tell what came of it), or {'shut' or 'tried' (somebody is at it), since
-- (ms), next try or its end (ms), trouble, text}.
local key = ARGV[1] .. 'circuit:' .. ARGV[2]
local now = clock()
local at, token, ends, since, trouble, text =
  unpack(redis.call('HMGET', key, 'until', 'token', 'ends', 'since', 'trouble', 'text'))
if not at then return {'free'} end
if token and tonumber(ends) > now then
  if token == ARGV[3] then
    redis.call('HSET', key, 'ends', now + ARGV[4])
    return {'probe'}
  end
  return {'tried', since, ends, trouble, text}
end
-- a pause that is longer than any can be was begun before the clock was put back
if now < tonumber(at) and tonumber(at) <= now + 2 * ARGV[5] then return {'shut', since, at, trouble, text} end
redis.call('HSET', key, 'token', ARGV[3], 'ends', now + ARGV[4])
return {'probe'}
