-- One key's rate over all nodes. Who asks says what it counted; it is told how many requests are reserved for it.
--
-- KEYS[1]  ratelimit:<key>, a string of words in one line:
--            TAT   since   and for each node:  name  counted  reserved  demand  asked-at
--          TAT (gcra.py) of all that the nodes gave, and times, in microseconds of this server's clock; demand is
--          requests a second, admitted and refused.
-- ARGV     node, counted, counted as acknowledged, held, demand, nodes, interval ns, burst, credit, known TAT
-- returns  reserved, fair, TAT, now
--
-- Rules: reservations are part of the bucket, they move the TAT when they are used. Nobody's is ever taken away before
-- its lease ends: who has more than is fair gives it back the next time that it asks. So a lost reply, or a lost ask,
-- gives nothing twice. What a node gave on credit moves the TAT beyond the bucket: nobody gets more until that is paid.
local LEASE_US, LAG_US, AHEAD_US, NEW_US = 1000000, 20000, 40000, 60000

local node, counted, acknowledged = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local held, demand, nodes = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local interval_us, burst, credit = tonumber(ARGV[7]) / 1000, tonumber(ARGV[8]), tonumber(ARGV[9])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

-- What stands there, and what of it is still in force.
local tat, since, seen = 0, now, acknowledged
local reserved_elsewhere, demand_elsewhere, others = 0, 0, {}
local text = redis.call('GET', KEYS[1])
if text then
  local words = string.gmatch(text, '%S+')
  tat, since = tonumber(words()), tonumber(words())
  for name in words do
    local its_count, its_reserved, its_demand, its_at = words(), words(), words(), words()
    if name == node then
      if tonumber(its_count) <= counted then seen = math.max(seen, tonumber(its_count)) end
    elseif tonumber(its_at) > now - LEASE_US then
      reserved_elsewhere = reserved_elsewhere + tonumber(its_reserved)
      demand_elsewhere = demand_elsewhere + tonumber(its_demand)
      others[#others + 1] = table.concat({name, its_count, its_reserved, its_demand, its_at}, ' ')
    end
  end
end

-- Settle what was given since: some of it up to an exchange ago.
local bucket_us, used = burst * interval_us, math.max(counted - seen, 0)
tat = math.max(tat, tonumber(ARGV[10]))
if used > 0 then tat = math.max(tat, now - LAG_US) + math.ceil(used * interval_us) end
tat = math.min(tat, now + math.ceil(bucket_us + nodes * credit * interval_us))  -- further is of other terms

-- Reserve: a share of the bucket, and of what will be in it until the exchange after the next, by demand. Who asks for
-- nothing keeps a credit, which is nobody else's loss, and has it back when the bucket is half full.
local ahead_us = math.max(tat - now, 0)
local reserved, fair, told = held, credit, 0
if demand > 0 then
  local room = math.floor((bucket_us + AHEAD_US - ahead_us) / interval_us + 0.000001)
  if nodes == 1 or now - since >= NEW_US then
    local share = math.ceil(math.max(room, 0) * demand / (demand + demand_elsewhere))
    local needed = math.max(math.ceil(demand * 0.1), credit, math.floor(room / 2))
    fair = math.max(math.min(share, needed), 1)
  end
  reserved = math.max(held, math.min(fair, room - reserved_elsewhere), 0)
  told = reserved
elseif ahead_us * 2 <= bucket_us then
  reserved = math.max(held, credit)
end

others[#others + 1] = string.format('%s %.0f %.0f %.0f %.0f', node, counted, told, demand, now)
local state = string.format('%.0f %.0f ', tat, since) .. table.concat(others, ' ')
redis.call('SET', KEYS[1], state, 'PX', math.ceil((math.max(tat - now, 0) + LEASE_US) / 1000))
return {reserved, fair, tat, now}
