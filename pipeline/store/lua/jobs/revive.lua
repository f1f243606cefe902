-- Give jobs of dead processes back to their queues, and forget dead letters that are old.
-- ARGV: namespace, moment (ms) since when a process must have been heard of, the same for dead letters, at
-- most so many processes and letters of a queue, then the queues. Returns {processes forgotten, jobs given back}.
local space = ARGV[1]
local beats = space .. ':__heartbeats__'
local dead = redis.call('ZRANGEBYSCORE', beats, '-inf', ARGV[2], 'LIMIT', 0, ARGV[4])
local back = 0
for _, process in ipairs(dead) do
  for i = 5, #ARGV do
    local queue = space .. ':' .. ARGV[i]
    local held = space .. ':__acks__.' .. process .. '.' .. ARGV[i]
    for _, job in ipairs(redis.call('SMEMBERS', held)) do
      if redis.call('HEXISTS', queue .. '.msgs', job) == 1 then
        redis.call('RPUSH', queue, job)
        back = back + 1
      end
    end
    redis.call('DEL', held)
  end
  redis.call('ZREM', beats, process)
end
for i = 5, #ARGV do
  local letters = space .. ':' .. ARGV[i] .. '.XQ'
  for _, job in ipairs(redis.call('ZRANGEBYSCORE', letters, '-inf', ARGV[3], 'LIMIT', 0, ARGV[4])) do
    redis.call('ZREM', letters, job)
    redis.call('HDEL', letters .. '.msgs', job)
  end
end
return {#dead, back}
