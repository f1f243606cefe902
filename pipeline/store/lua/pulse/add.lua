-- Add what one process has counted for some destinations to what all have, in a ring of minutes for each.
-- ARGV: prefix, now (s), minute, minutes in the ring, seconds for which a destination is remembered, how many are at most,
--   then for each destination its key, its counts ("1 0 0 ..."), its last security, its last trouble (JSON) and the address
--   that could not be reached; each of the last three is '' if there is nothing new.
local p, now, minute = ARGV[1], ARGV[2], ARGV[3]
local cell = 'm' .. minute % ARGV[4]
for i = 7, #ARGV, 5 do
  local key, counts = p .. 'pulse:to:' .. ARGV[i], ARGV[i + 1]
  local before, known = string.match(redis.call('HGET', key, cell) or '', '^(%d+) (.*)$')
  if before == minute then
    local new, sums = string.gmatch(counts, '%d+'), {}
    for old in string.gmatch(known, '%d+') do sums[#sums + 1] = string.format('%d', old + (new() or 0)) end
    counts = table.concat(sums, ' ')
  end
  local fields = {cell, minute .. ' ' .. counts}
  for at, name in ipairs({'security', 'trouble', 'door'}) do
    local value = ARGV[i + 1 + at]
    if value ~= '' then
      fields[#fields + 1] = name
      fields[#fields + 1] = value
    end
  end
  redis.call('HSET', key, unpack(fields))
  redis.call('EXPIRE', key, ARGV[5])
  redis.call('ZADD', p .. 'pulse:seen', now, ARGV[i])
end
local many = redis.call('ZCARD', p .. 'pulse:seen') - ARGV[6]
if many > 0 then
  local gone = redis.call('ZPOPMIN', p .. 'pulse:seen', many)
  for i = 1, #gone, 2 do redis.call('UNLINK', p .. 'pulse:to:' .. gone[i]) end
end
redis.call('ZREMRANGEBYSCORE', p .. 'pulse:seen', '-inf', now - ARGV[5])
return 0
