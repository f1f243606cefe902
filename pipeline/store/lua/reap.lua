-- End the claims whose lease is over: their groups go back to where they came from; those set aside, to its end.
-- ARGV: prefix, now (ms), at most. Returns flat triples: token, list, number of groups.
local p = ARGV[1]
local out = {}
for _, token in ipairs(redis.call('ZRANGEBYSCORE', p .. 'claims', '-inf', ARGV[2], 'LIMIT', 0, tonumber(ARGV[3]))) do
  local claim = p .. 'claim:' .. token
  local where = string.sub(token, 1, 6) == 'aside:' and 'RPUSH' or 'LPUSH'
  local counts = {}
  local all = redis.call('HGETALL', claim)
  for i = 1, #all, 2 do
    if all[i] ~= '' then
      push(where, all[i + 1], all[i])
      counts[all[i + 1]] = (counts[all[i + 1]] or 0) + 1
    end
  end
  redis.call('DEL', claim)
  redis.call('ZREM', p .. 'claims', token)
  for list, count in pairs(counts) do
    out[#out + 1] = token
    out[#out + 1] = list
    out[#out + 1] = count
  end
end
return out
