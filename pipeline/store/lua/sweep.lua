-- Of some destinations, tell which hold mail and have no nudge on its way; the idle ones are forgotten.
-- ARGV: prefix, then the destinations. Returns those to nudge.
local p = ARGV[1]
local out = {}
for i = 2, #ARGV do
  local destination = ARGV[i]
  if redis.call('LLEN', p .. 'ready:' .. destination) > 0 then
    if redis.call('SET', p .. 'nudge:to:' .. destination, 1, 'NX', 'PX', NUDGE) then out[#out + 1] = destination end
  elseif redis.call('ZCARD', p .. 'slots:' .. destination) == 0 then
    redis.call('SREM', p .. 'destinations', destination)
  end
end
return out
