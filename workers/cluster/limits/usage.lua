-- What one key used of its month over all nodes: each node says what it counted itself, as often as it likes.
--
-- KEYS[1]  usage:counter:<key>, a string, an integer: the sum of what the nodes counted, or what is known if that is more
-- KEYS[2]  {usage:counter:<key>}:nodes, a hash: `.month` (since the year 0), `.known`, and of each node what it counted
-- ARGV     node, month, counted, known (of all nodes, by this one's own and what it learned, or by the ledger),
--          milliseconds until both end
-- returns  what this node counted at most, the nodes' sum, what is known; or nothing where the month is over already
--
-- Rules: all numbers only grow in a month, so that an old or a repeated word changes nothing, and a node that lost its
-- own count has it back from here. What is known is never more than was counted, so the greater one is always right.
local month = tonumber(redis.call('HGET', KEYS[2], '.month') or 0)
if tonumber(ARGV[2]) < month then return {} end
if tonumber(ARGV[2]) > month then
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], '.month', ARGV[2])
end
local function raise(field, value)
  local found = redis.call('HGET', KEYS[2], field)
  if found and tonumber(found) >= tonumber(value) then return tonumber(found) end
  redis.call('HSET', KEYS[2], field, value)
  return tonumber(value)
end
local own, known = raise(ARGV[1], ARGV[3]), raise('.known', ARGV[4])
local sum, fields = 0, redis.call('HGETALL', KEYS[2])
for i = 1, #fields, 2 do
  if fields[i] ~= '.month' and fields[i] ~= '.known' then sum = sum + tonumber(fields[i + 1]) end
end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('SET', KEYS[1], string.format('%.0f', math.max(sum, known)), 'PX', ARGV[5])
return {own, sum, known}
