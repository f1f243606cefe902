-- Take up to n groups from the head of a list under a lease.
-- ARGV: prefix, list (without prefix), token, n, lease end (ms).
local p = ARGV[1]
local groups = redis.call('LPOP', p .. ARGV[2], tonumber(ARGV[4]))
if not groups then return {} end
local claim = p .. 'claim:' .. ARGV[3]
redis.call('HSET', claim, '', ARGV[2])
for _, group in ipairs(groups) do redis.call('HSET', claim, group, ARGV[2]) end
redis.call('ZADD', p .. 'claims', ARGV[5], ARGV[3])
return groups
