-- Put before every script: a ready queue that holds something is among the destinations that the sweep visits.
local function push(where, list, group)
  redis.call(where, ARGV[1] .. list, group)
  local destination = string.match(list, '^ready:(.*)$')
  if destination then redis.call('SADD', ARGV[1] .. 'destinations', destination) end
end
