-- Draw messages from the allowance of a destination, which fills at its rate up to the burst (a token bucket, kept as
-- the time at which all that was drawn is paid for). ARGV: prefix, destination, how many are wanted (below 0: so many
--   come back), ms for each, burst, longest wait (ms).
-- Returns {how many may go, ms to wait before they do}. Nobody has to ask twice: one that may go only later is drawn
-- with its wait, unless that is too long.
local key = ARGV[1] .. 'rate:' .. ARGV[2]
local wanted, each, burst = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local longest, now = tonumber(ARGV[6]), clock()
local paid = math.max(tonumber(redis.call('GET', key) or 0), now)
-- a clock that was put back must not close the destination: nobody waits for more than an hour
paid = math.min(paid, now + burst * each + 3600000)
local drawn = math.min(wanted, math.floor((now + burst * each - paid) / each + 1e-6))
local wait = 0
if wanted > 0 and drawn < 1 then
  wait = math.ceil(paid + each - burst * each - now)
  drawn = wait <= longest and 1 or 0
end
paid = paid + drawn * each
if paid > now then
  redis.call('SET', key, string.format('%.3f', paid), 'PX', math.ceil(paid - now) + 1000)
else
  redis.call('DEL', key)
end
return {drawn, wait}
