-- Give a connection of a site back. ARGV: prefix, site, token, limit.
-- Returns the destinations that waited longest, as many as there are connections free.
local key = ARGV[1] .. 'site:' .. ARGV[2]
redis.call('ZREM', key, ARGV[3])
local free = tonumber(ARGV[4]) - redis.call('ZCARD', key)
local out = {}
if free <= 0 then return out end
local popped = redis.call('ZPOPMIN', ARGV[1] .. 'line:' .. ARGV[2], free)
for i = 1, #popped, 2 do out[#out + 1] = popped[i] end
return out
