-- Wait no longer for mail at a destination. ARGV: prefix, destination, token.
-- Returns 1 if mail is there. It may have come in this moment for the caller, who was woken while nobody else was nudged;
-- that the word of the caller is gone does not tell, as it ends by itself when the wait is over.
local key = ARGV[1] .. 'parked:' .. ARGV[2]
if redis.call('GET', key) == ARGV[3] then redis.call('DEL', key) end
return redis.call('LLEN', ARGV[1] .. 'ready:' .. ARGV[2]) > 0 and 1 or 0
