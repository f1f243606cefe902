-- Close a slot, give back what its connection still had, and tell how many groups wait, so that no nudge is lost between
-- the last claim and this.
-- ARGV: prefix, destination, token. Returns the backlog; an idle destination is forgotten, and its nudge.
local p = ARGV[1]
back(ARGV[3])
redis.call('ZREM', p .. 'slots:' .. ARGV[2], ARGV[3])
if redis.call('GET', p .. 'parked:' .. ARGV[2]) == ARGV[3] then redis.call('DEL', p .. 'parked:' .. ARGV[2]) end
local backlog = redis.call('LLEN', p .. 'ready:' .. ARGV[2])
if backlog == 0 then
  redis.call('DEL', p .. 'nudge:to:' .. ARGV[2])
  if redis.call('ZCARD', p .. 'slots:' .. ARGV[2]) == 0 then
    redis.call('SREM', p .. 'destinations', ARGV[2])
  end
end
return backlog
