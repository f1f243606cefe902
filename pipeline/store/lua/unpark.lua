-- Wait no longer for mail at a destination. ARGV: prefix, destination, token.
-- Returns 1 if mail has come for it: then it was woken in this moment, and nobody else was nudged.
local key = ARGV[1] .. 'parked:' .. ARGV[2]
if redis.call('GET', key) == ARGV[3] then
  redis.call('DEL', key)
  return 0
end
return 1
