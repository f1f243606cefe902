-- Let the pause of every open circuit be over, so that the next delivery knocks, and no destination be left alone for
-- its certificates. ARGV: prefix. Returns how many.
local p, count = ARGV[1], 0
for _, door in ipairs(redis.call('ZRANGE', p .. 'circuits', 0, -1)) do
  local key = p .. 'circuit:' .. door
  if redis.call('HEXISTS', key, 'until') == 1 then
    redis.call('HSET', key, 'until', 0)
    count = count + 1
  end
end
for _, destination in ipairs(redis.call('ZRANGE', p .. 'mismatches', 0, -1)) do
  redis.call('DEL', p .. 'mismatch:' .. destination, p .. 'probe:' .. destination, p .. 'asked:' .. destination)
  count = count + 1
end
redis.call('DEL', p .. 'mismatches')
return count
