-- Prolong a lease and a slot that are still ours; a long job must not lose the limit either.
-- ARGV: prefix, token, lease (ms), destination of the slot or ''.
-- Returns 1 if there is a lease, which is one on some groups, else 0.
local p, token = ARGV[1], ARGV[2]
local ends = clock() + ARGV[3]
local held = redis.call('ZSCORE', p .. 'claims', token) and 1 or 0
redis.call('ZADD', p .. 'claims', 'XX', ends, token)
if ARGV[4] ~= '' then
  redis.call('ZADD', p .. 'slots:' .. ARGV[4], 'XX', ends, token)
  redis.call('PEXPIRE', p .. 'slots:' .. ARGV[4], 600000)
end
return held
