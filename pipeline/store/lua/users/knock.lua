-- Count a try of a password at each of the doors KEYS (user, address), unless one of them is shut; gives the
-- milliseconds for which it is. ARGV: tries that are free, milliseconds that tries are remembered, longest pauses.
local free, keep = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait = 0
for _, door in ipairs(KEYS) do
  local shut = tonumber(redis.call('HGET', door, 'until') or '0')
  if shut - now > wait then
    wait = shut - now
  end
end
if wait > 0 then
  return wait
end
for number, door in ipairs(KEYS) do
  local tries = redis.call('HINCRBY', door, 'tries', 1)
  if tries >= free then
    local pause = math.min(2000 * 2 ^ math.min(tries - free, 20), tonumber(ARGV[2 + number]))
    redis.call('HSET', door, 'until', string.format('%.0f', now + pause))
  end
  redis.call('PEXPIRE', door, keep)
end
return 0
