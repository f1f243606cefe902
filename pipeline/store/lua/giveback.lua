-- Give claimed groups back to the head of the lists they came from, in order; with the last of them the claim ends.
-- ARGV: prefix, token, then the groups (none: all). Returns the lists that got something.
local p, token = ARGV[1], ARGV[2]
local lists = {}
if #ARGV == 2 then
  local groups = back(token)
  for i = 1, #groups, 2 do
    if groups[i] ~= '' then lists[groups[i + 1]] = true end
  end
else
  local claim = p .. 'claim:' .. token
  for i = #ARGV, 3, -1 do
    local list = redis.call('HGET', claim, ARGV[i])
    if list and redis.call('HDEL', claim, ARGV[i]) == 1 then
      push('LPUSH', list, ARGV[i])
      lists[list] = true
    end
  end
  if redis.call('HLEN', claim) <= 1 then
    redis.call('DEL', claim)
    redis.call('ZREM', p .. 'claims', token)
  end
end
local out = {}
for list, _ in pairs(lists) do out[#out + 1] = list end
return out
