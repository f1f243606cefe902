-- Forget that an address could not be reached. ARGV: prefix, door. Returns since when (ms) its circuit was open, else 0.
local key = ARGV[1] .. 'circuit:' .. ARGV[2]
local at, since = unpack(redis.call('HMGET', key, 'until', 'since'))
redis.call('DEL', key)
redis.call('ZREM', ARGV[1] .. 'circuits', ARGV[2])
return at and tonumber(since) or 0
