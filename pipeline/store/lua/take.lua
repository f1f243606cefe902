-- Take up to n groups from the head of a list under a lease, with what is needed to work on them in the same trip.
-- ARGV: prefix, list (without prefix), token, n, lease (ms), what comes with each group ('' nothing, 'rows' the
--   envelope and the recipients, 'mail' those and the content up to the given size, else the hash of its payload),
--   the nudge of this list, the nudge that asks for one more worker, connections that the destination may have
--   (0: no bound), size (octets), ms for which the caller waits for mail to come if there is none now (0: not at all).
-- Returns {groups left, one more worker is wanted, {group, value...}, ...}, or {0, 0} if there is none and {0, 2} if
-- mail that comes wakes the caller, which it does for one connection of a destination at a time. The nudge of a list
-- that is empty is forgotten, so that what comes in next sends another; while it holds something, whoever works on it
-- goes on.
local p, list, token = ARGV[1], ARGV[2], ARGV[3]
local groups = redis.call('LPOP', p .. list, tonumber(ARGV[4]))
local nudge = p .. 'nudge:' .. ARGV[7]
if not groups then
  redis.call('DEL', nudge)
  if tonumber(ARGV[11]) == 0 then return {0, 0} end
  local parked = p .. 'parked:' .. string.match(list, '^ready:(.*)$')
  return {0, redis.call('SET', parked, token, 'NX', 'PX', ARGV[11]) and 2 or 0}
end
-- A batch of messages to thousands is cut short: what a worker has in hand, and the time of this script, are bounded.
local size, most = 0, #groups
for i, group in ipairs(groups) do
  size = size + #group
  if size > NAMES and i > 1 then
    most = i - 1
    break
  end
end
for i = #groups, most + 1, -1 do redis.call('LPUSH', p .. list, table.remove(groups)) end
local claim = p .. 'claim:' .. token
local fields = {'', list}
for _, group in ipairs(groups) do
  fields[#fields + 1] = group
  fields[#fields + 1] = list
end
write(claim, fields)
redis.call('ZADD', p .. 'claims', clock() + ARGV[5], token)
redis.call('SET', nudge, 1, 'PX', WORKED)
local with = ARGV[6]
local out = {redis.call('LLEN', p .. list), 0}
for _, group in ipairs(groups) do
  local one = {group}
  if with == 'rows' or with == 'mail' then
    local id, numbers = string.match(group, '^([^/]+)/([^!]*)')
    local key = p .. 'msg:' .. id
    local wanted = {'envelope'}
    for number in string.gmatch(numbers, '[^,]+') do wanted[#wanted + 1] = 'r:' .. number end
    if with == 'mail' then
      local body = p .. 'body:' .. id
      one[2] = redis.call('STRLEN', body) <= tonumber(ARGV[10]) and redis.call('GET', body)
    end
    for first = 1, #wanted, 4000 do
      for _, value in ipairs(redis.call('HMGET', key, unpack(wanted, first, math.min(first + 3999, #wanted)))) do
        one[#one + 1] = value
      end
    end
  elseif with ~= '' then
    one[2] = redis.call('HGET', p .. with, group)
  end
  out[#out + 1] = one
end
if ARGV[8] ~= '' and out[1] > 0 then
  local most, open = tonumber(ARGV[9]), 0
  local destination = string.match(list, '^ready:(.*)$')
  if destination then open = redis.call('ZCARD', p .. 'slots:' .. destination) end
  local wanted = most == 0 and out[1] >= tonumber(ARGV[4]) or open < most and out[1] > open * EACH
  if wanted and redis.call('SET', p .. 'nudge:' .. ARGV[8], 1, 'NX', 'PX', AGAIN) then out[2] = 1 end
end
return out
