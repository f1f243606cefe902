-- Take one of the connections that all destinations of a site may have at a time; who gets none waits in line.
-- ARGV: prefix, site, token, destination, limit, lease (ms). Returns 1 if there was one, else 0.
local now = clock()
local key, line = ARGV[1] .. 'site:' .. ARGV[2], ARGV[1] .. 'line:' .. ARGV[2]
redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
cap(key, now + 2 * ARGV[6], now + ARGV[6])
-- one that asks again, as the first answer got lost, has its own already
if redis.call('ZCARD', key) >= tonumber(ARGV[5]) and not redis.call('ZSCORE', key, ARGV[3]) then
  redis.call('ZADD', line, 'NX', now, ARGV[4])
  redis.call('PEXPIRE', line, 600000)
  return 0
end
redis.call('ZADD', key, now + ARGV[6], ARGV[3])
redis.call('PEXPIRE', key, 600000)
redis.call('ZREM', line, ARGV[4])
return 1
