-- What one key used of its month over all nodes: each node says what it counted itself, as often as it likes.
--
-- KEYS[1]  usage:counter:<key>, a string: the sum, an integer
-- KEYS[2]  {usage:counter:<key>}:nodes, a hash: `month` (since the year 0), and of each node what it counted in it
-- ARGV     node, month, counted, milliseconds until both end
-- returns  what this node counted at most, the sum; or nothing where the month is over already
--
-- Rules: a node's number only grows in a month, so that an old or a repeated word changes nothing, and a node that lost
-- its own count has it back from here. The sum is always that of the hash.
local month = tonumber(redis.call('HGET', KEYS[2], 'month') or 0)
if tonumber(ARGV[2]) < month then return {} end
if tonumber(ARGV[2]) > month then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'month', ARGV[2])
end
local own = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
if tonumber(ARGV[3]) > own then
  own = tonumber(ARGV[3])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
end
local sum, fields = 0, redis.call('HGETALL', KEYS[2])
for i = 1, #fields, 2 do
  if fields[i] ~= 'month' then sum = sum + tonumber(fields[i + 1]) end
end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
redis.call('SET', KEYS[1], string.format('%.0f', sum), 'PX', ARGV[4])
return {own, sum}
