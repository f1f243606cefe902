-- Wait for mail at a destination with an open connection, instead of closing it.
-- ARGV: prefix, destination, token, ms. Returns 1 if mail that comes now wakes this one, else 0: there is mail already,
-- or another connection waits.
local p = ARGV[1]
if redis.call('LLEN', p .. 'ready:' .. ARGV[2]) > 0 then return 0 end
if redis.call('SET', p .. 'parked:' .. ARGV[2], ARGV[3], 'NX', 'PX', ARGV[4]) then return 1 end
return 0
