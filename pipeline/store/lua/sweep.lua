-- Of some places, tell which hold mail and have no nudge on its way; destinations that are idle are forgotten.
-- ARGV: prefix, then the lists ("place:<stage>", "ready:<destination>"). Returns the nudges to send.
local p = ARGV[1]
local out = {}
for i = 2, #ARGV do
  local kind, name = string.match(ARGV[i], '^(%a+):(.*)$')
  local nudge = kind == 'ready' and 'to:' .. name or name
  if redis.call('LLEN', p .. ARGV[i]) > 0 then
    local key = p .. 'nudge:' .. nudge
    if redis.call('PTTL', key) > HUSHED then redis.call('DEL', key) end
    if redis.call('SET', key, 1, 'NX', 'PX', NUDGE) then out[#out + 1] = nudge end
  elseif kind == 'ready' and redis.call('ZCARD', p .. 'slots:' .. name) == 0 then
    redis.call('SREM', p .. 'destinations', name)
  end
end
return out
