-- End the claims whose lease is over: their groups go back to where they came from; those set aside, to its end.
-- Where nobody looked for a while, Redis was away or its clock was set: nobody could prolong a lease either, and whoever
-- is alive will, so all of them are given one more lease's time.
-- ARGV: prefix, at most, when the caller looked last (ms; 0: never), before when nothing ends (ms), lease (ms).
-- Returns {now, before when nothing ends, token, list, number of groups, ...}.
local p = ARGV[1]
local now, seen, hold, lease = clock(), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
if math.abs(now - seen) > lease / 3 then
  hold = now + lease
  if lease > 0 then cap(p .. 'claims', now + lease, now + lease) end
end
local out = {now, hold}
local moved = 0
if now < hold then return out end
for _, token in ipairs(redis.call('ZRANGEBYSCORE', p .. 'claims', '-inf', now, 'LIMIT', 0, tonumber(ARGV[2]))) do
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
    moved = moved + count
    out[#out + 1] = token
    out[#out + 1] = list
    out[#out + 1] = count
  end
  if moved >= 500 then break end -- the next look takes the rest, so that nobody waits for Redis meanwhile
end
return out
