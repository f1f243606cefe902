-- Give claimed groups back to the head of the lists they came from, in order, and end the claim.
-- ARGV: prefix, token, then the groups (none: all). Returns the lists that got something.
local p, token = ARGV[1], ARGV[2]
local claim = p .. 'claim:' .. token
local lists = {}
local groups = {}
if #ARGV > 2 then
  for i = 3, #ARGV do groups[#groups + 1] = ARGV[i] end
else
  for _, field in ipairs(redis.call('HKEYS', claim)) do
    if field ~= '' then groups[#groups + 1] = field end
  end
end
for i = #groups, 1, -1 do
  local list = redis.call('HGET', claim, groups[i])
  if list and redis.call('HDEL', claim, groups[i]) == 1 then
    push('LPUSH', list, groups[i])
    lists[list] = true
  end
end
if redis.call('HLEN', claim) <= 1 then
  redis.call('DEL', claim)
  redis.call('ZREM', p .. 'claims', token)
end
local out = {}
for list, _ in pairs(lists) do out[#out + 1] = list end
return out
