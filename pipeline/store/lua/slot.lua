-- Open a connection slot of a destination, so that limits hold across workers on all hosts.
-- ARGV: prefix, destination, token, limit, lease (ms).
-- Returns 0 if all are taken, 1 if it is opened, 2 if the token has a lease on groups as well, which begins anew then.
local key = ARGV[1] .. 'slots:' .. ARGV[2]
local now, lease = clock(), tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
cap(key, now + 2 * lease, now + lease)
-- one that asks again, as the first answer got lost, has its own already
if redis.call('ZCARD', key) >= tonumber(ARGV[4]) and not redis.call('ZSCORE', key, ARGV[3]) then return 0 end
redis.call('ZADD', key, now + lease, ARGV[3])
redis.call('PEXPIRE', key, 600000)
if not redis.call('ZSCORE', ARGV[1] .. 'claims', ARGV[3]) then return 1 end
redis.call('ZADD', ARGV[1] .. 'claims', now + lease, ARGV[3])
return 2
