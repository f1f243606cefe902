-- Put before every script: a ready queue that holds something is among the destinations that the sweep visits, and
-- leases rest on the clock of Redis alone, which all workers share, whatever their own clocks say.
local NUDGE = 20000 -- ms for which a nudge is taken to be on its way, if nobody says otherwise
local WORKED = 5000 -- ms after its last batch for which a worker is taken to be at a list
local HUSHED = 120000 -- ms for which a place is hushed at most: what lasts longer is older than a clock that was put back
local AGAIN = 1000 -- ms between two calls for one more worker at the same list
local NAMES = 16000 -- octets of names of groups in one batch: a few thousand recipients
local EACH = 10 -- groups that wait for each open connection before another one is worth its handshake
local function clock() -- ms
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- Leases and slots that end later than any can were made before the clock was put back.
local function cap(key, most, ends)
  for _, token in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. most, '+inf')) do redis.call('ZADD', key, ends, token) end
end
-- Redis passes no more than some thousands of arguments at a time.
local function write(key, fields)
  local many = #fields
  if many > 0 and many <= 4000 then return redis.call('HSET', key, unpack(fields)) end
  for at = 1, many, 4000 do redis.call('HSET', key, unpack(fields, at, math.min(at + 3999, many))) end
end
-- Where a group stands is kept with its first recipient, in "w:<n>" as "<list>|<group>"; the others name that one, "=<n>".
-- So a group of thousands keeps its name once, and where it goes on whole, one field says so.
local function step(list, group)
  local id, first = string.match(group, '^([^/]+)/([^,!]+)')
  redis.call('HSET', ARGV[1] .. 'msg:' .. id, 'w:' .. first, list .. '|' .. group)
end
-- `fields` are written with it: one call that writes all costs less than two.
local function stand(list, group, fields)
  local id, first, others = string.match(group, '^([^/]+)/([^,!]+)([^!]*)')
  fields = fields or {}
  fields[#fields + 1] = 'w:' .. first
  fields[#fields + 1] = list .. '|' .. group
  for number in string.gmatch(others, '[^,]+') do
    fields[#fields + 1] = 'w:' .. number
    fields[#fields + 1] = '=' .. first
  end
  write(ARGV[1] .. 'msg:' .. id, fields)
end
local function push(where, list, group)
  redis.call(where, ARGV[1] .. list, group)
  local destination = string.match(list, '^ready:(.*)$')
  if destination then redis.call('SADD', ARGV[1] .. 'destinations', destination) end
end
-- What waits for its next try is counted by destination as well, for those who look: "deferred:<destination>" has its
-- groups by when they are due, and "deferred" how many that are. A group says with its place which destination it is.
local function index(destination, group, at)
  local key = ARGV[1] .. 'deferred:' .. destination
  if at then redis.call('ZADD', key, at, group) else redis.call('ZREM', key, group) end
  local many = redis.call('ZCARD', key)
  if many > 0 then redis.call('ZADD', ARGV[1] .. 'deferred', many, destination)
  else redis.call('ZREM', ARGV[1] .. 'deferred', destination) end
end
local function put_off(group, at, destination)
  redis.call('ZADD', ARGV[1] .. 'schedule', at, group)
  stand(destination and 'schedule:' .. destination or 'schedule', group)
  if destination then index(destination, group, at) end
end
local function destination_of(where) return string.match(where, '^schedule:(.*)$') end
-- Keep what became of a recipient for those who are told of it over HTTP, numbered, so that they see when one is missing.
local function tell(id, number, recipient, most)
  redis.call('XADD', ARGV[1] .. 'outcomes', 'MAXLEN', '~', most, '*', 'id', id .. '/' .. number, 'recipient', recipient,
    'number', redis.call('INCR', ARGV[1] .. 'outcomes-number'))
end
-- Give all that a claim holds back to the head of the lists that it came from, in order, and end it.
local function back(token)
  local claim = ARGV[1] .. 'claim:' .. token
  if redis.call('EXISTS', claim) == 0 then return {} end
  local groups = redis.call('HGETALL', claim)
  for i = #groups - 1, 1, -2 do
    if groups[i] ~= '' then push('LPUSH', groups[i + 1], groups[i]) end
  end
  redis.call('DEL', claim)
  redis.call('ZREM', ARGV[1] .. 'claims', token)
  return groups
end
