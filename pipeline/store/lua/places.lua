-- Put before every script: a ready queue that holds something is among the destinations that the sweep visits.
local NUDGE = 20000 -- ms for which a nudge is taken to be on its way, if nobody says otherwise
local WORKED = 5000 -- ms after its last batch for which a worker is taken to be at a list
local AGAIN = 1000 -- ms between two calls for one more worker at the same list
local EACH = 10 -- groups that wait for each open connection before another one is worth its handshake
local function push(where, list, group)
  redis.call(where, ARGV[1] .. list, group)
  local destination = string.match(list, '^ready:(.*)$')
  if destination then redis.call('SADD', ARGV[1] .. 'destinations', destination) end
end
