-- Find the next messages in the order of acceptance, after one that may be settled by now.
-- ARGV: prefix, score and id of the last message seen ('' and '' for the first page), how many.
-- Returns flat pairs of id and score; those of the same score may have been seen.
local key = ARGV[1] .. 'messages'
local start = 0
if ARGV[3] ~= '' then
  local rank = redis.call('ZRANK', key, ARGV[3])
  if rank then start = rank + 1 else start = redis.call('ZCOUNT', key, '-inf', '(' .. ARGV[2]) end
end
return redis.call('ZRANGE', key, start, start + tonumber(ARGV[4]) - 1, 'WITHSCORES')
