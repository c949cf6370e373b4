"""The cluster's connections, divided among its nodes by demand: leases in one hash of Valkey.

A node's lease is how many connections to the lookups it may have. Every turn it says how many it has and how many it
wants (those it has, what it turned away since, and some to grow by), and gets its next lease:

    more        out of what no other lease holds
    less        when others want more than there is: what it does not use, down to its even share if it wants so many;
                it takes its own limit down first, closes idle connections, and gives back what it has closed

Rules: the leases in Valkey never sum to more than the total, for one script changes them; a node raises its limit only
after its lease is written there, and lowers its lease only as far as it is below it. So the nodes' limits never sum to
more than the total, but where Valkey forgot: then each node names what it has, and nobody grows for a moment. A
lease that was not renewed shrinks to the even share after a time, and ends much later: a node that cannot reach Valkey
lowers itself to its even share (total / nodes, as it knew last) before that. A worker always takes one connection.
What the workers admitted and refused is added to three counters, for whoever looks at the cluster as a whole.
"""

import asyncio
import contextlib
from collections.abc import Callable

from trinity.cache.client import CacheClient, CacheScript
from trinity.cache.keys import ADAPTIVE_LEASES, ADAPTIVE_SUCCESSES, ADAPTIVE_THROTTLE, ADAPTIVE_TOTAL
from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.memory.admission_table import AdmissionTable, WorkerAdmission
from workers.cluster.members import Members

TURN_SECONDS = 0.5
# A node that has not renewed its lease for so long is down to its even share by its own doing; then so is its lease ...
ALONE_SECONDS = 5.0
_SHRINKS_MS = 10_000
# ... which ends after this: a node that died is not waited for, one that is cut off for longer may come on top.
_ENDS_MS = 600_000
# After Valkey was found empty the nodes name their leases within a turn or two; until then nobody gets more.
_SETTLES_MS = 3_000
# Wanted beyond what is open: connections come faster than turns.
_GROWTH, _GROWTH_MIN = 0.25, 64

# KEYS: leases. ARGV: node, wanted, least (the limit that its workers know, or what is open), held (its lease as it
# knows it), total. A field is "lease wanted renewed_ms"; the field "" says when the hash was made.
# Fair is what all want as far as there is enough, the least demanding first; what nobody wants is divided evenly.
_LEASE = CacheScript(
    f"""
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node, wanted, least = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local held, total = tonumber(ARGV[4]), tonumber(ARGV[5])
redis.call('HSETNX', KEYS[1], '', now)
local since, known, others, nodes, wants = now, held, {{}}, 1, {{wanted}}
local found = redis.call('HGETALL', KEYS[1])
for i = 1, #found, 2 do
    if found[i] == '' then
        since = tonumber(found[i + 1])
    else
        local lease, want, at = string.match(found[i + 1], '^(%d+) (%d+) (%d+)$')
        if found[i] == node then
            known = tonumber(lease)
        elseif now - at > {_ENDS_MS} then
            redis.call('HDEL', KEYS[1], found[i])
        else
            nodes = nodes + 1
            others[nodes] = {{tonumber(lease), tonumber(want), now - at > {_SHRINKS_MS}}}
        end
    end
end
local even, taken, left = math.max(1, math.floor(total / nodes)), 0, total
for _, other in pairs(others) do
    if other[3] then
        local kept = math.min(other[1], even)
        taken, left = taken + kept, left - kept
    else
        taken = taken + other[1]
        wants[#wants + 1] = other[2]
    end
end
local mine, count = wanted, #wants
table.sort(wants)
local fair = nil
for _, want in ipairs(wants) do
    local share = math.floor(left / count)
    if want > share then
        fair = math.min(wanted, share)
        break
    end
    if want == mine then fair = want end
    left, count = left - want, count - 1
end
if count == 0 then fair = wanted + math.floor(math.max(0, left) / #wants) end
fair = math.max(1, fair)
local lease
if fair > known then
    lease = now - since > {_SETTLES_MS} and fair or known
else
    lease = math.min(math.max(fair, least), known)
end
lease = math.max(1, math.min(lease, total - taken))
redis.call('HSET', KEYS[1], node, string.format('%d %d %d', lease, wanted, now))
return {{lease, math.min(fair, lease), nodes}}
"""
)


def wanted_of(workers: list[WorkerAdmission], turned_away_before: int) -> int:
    """Connections that the node would have if it could, with some to grow by."""
    is_open = sum(line.open for line in workers)
    turned_away = sum(line.wanted for line in workers) - turned_away_before
    return is_open + max(0, turned_away) + max(_GROWTH_MIN, int(is_open * _GROWTH))


class GovernorExchange:
    """The task that keeps this node's lease and tells its workers."""

    def __init__(
        self,
        node: str,
        admission: AdmissionTable,
        cache: CacheClient,
        members: Members,
        clock: Clock,
        total: int,
        turned: Callable[[], None],
    ) -> None:
        self._node, self._admission, self._cache, self._members, self._clock = node, admission, cache, members, clock
        self._total, self._turned = total, turned
        self._lease = 0  # none yet
        self._renewed_at_ns = clock.monotonic_ns()
        self._turned_away = 0
        self._counted = (0, 0)

    async def run(self) -> None:
        """Renew the lease twice a second."""
        while True:
            await self.turn()
            self._turned()
            await asyncio.sleep(TURN_SECONDS)

    async def turn(self) -> None:
        """One exchange, or what a node does that can have none."""
        lines = self._admission.read_all()
        try:
            await self._renew(lines)
            await self._count(lines)
        except CacheUnavailableError:
            alone_ns = self._clock.monotonic_ns() - self._renewed_at_ns
            if self._lease == 0 or alone_ns > ALONE_SECONDS * NS_PER_SECOND:
                self._tell(min(self._lease or self._total, self._even_share()))

    async def leave(self) -> None:
        """A node that stops gives its connections to the others at once, not after ten seconds."""
        with contextlib.suppress(CacheUnavailableError):  # then its lease ends by itself
            await self._cache.run([("HDEL", ADAPTIVE_LEASES.name(), self._node)])

    async def _renew(self, lines: list[WorkerAdmission]) -> None:
        wanted = wanted_of(lines, self._turned_away)
        least = max(sum(line.open for line in lines), self._admission.connections_limit)
        arguments: list[str | int | bytes] = [self._node, wanted, least, self._lease or self._even_share(), self._total]
        (reply,) = await self._cache.script(_LEASE, [(ADAPTIVE_LEASES.name(), arguments)])
        if isinstance(reply, CacheReplyError):
            raise CacheUnavailableError(str(reply))
        self._lease, limit, _ = map(int, reply)
        self._turned_away = sum(line.wanted for line in lines)
        self._renewed_at_ns = self._clock.monotonic_ns()
        self._tell(limit)

    async def _count(self, lines: list[WorkerAdmission]) -> None:
        """Add what was admitted and refused since the last turn; a worker that began anew has counted nothing yet."""
        counted = sum(line.admitted for line in lines), sum(sum(line.refused) for line in lines)
        admitted, refused = (max(0, now - before) for now, before in zip(counted, self._counted, strict=True))
        added = (
            (ADAPTIVE_SUCCESSES, admitted),
            (ADAPTIVE_THROTTLE, refused),
            (ADAPTIVE_TOTAL, admitted + refused),
        )
        if admitted or refused:
            await self._cache.run([("INCRBY", pattern.name(), count) for pattern, count in added])
        self._counted = counted

    def _tell(self, limit: int) -> None:
        self._admission.tell_limit(limit, self._clock.monotonic_ns())

    def _even_share(self) -> int:
        return max(1, self._total // self._members.sharers)
