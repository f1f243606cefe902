-- Prolong a connection of a site that is still ours. ARGV: prefix, site, token, lease (ms).
redis.call('ZADD', ARGV[1] .. 'site:' .. ARGV[2], 'XX', clock() + ARGV[4], ARGV[3])
redis.call('PEXPIRE', ARGV[1] .. 'site:' .. ARGV[2], 600000)
return 1
