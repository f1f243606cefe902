-- Let groups go on that were put aside because their sender was suspended: back to the place before the first stage.
-- ARGV: prefix, list (without prefix), at most, place. Returns {moved, nudge wanted}.
local p = ARGV[1]
local groups = redis.call('LPOP', p .. ARGV[2], tonumber(ARGV[3])) or {}
for _, group in ipairs(groups) do
  redis.call('RPUSH', p .. 'place:' .. ARGV[4], group)
  step('place:' .. ARGV[4], group)
end
if #groups == 0 then return {0, 0} end
return {#groups, redis.call('SET', p .. 'nudge:' .. ARGV[4], 1, 'NX', 'PX', NUDGE) and 1 or 0}
