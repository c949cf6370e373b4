"""Who lives in the cluster: the nodes whose last beat is not older than ten seconds, by one sorted set in Valkey.

Rules: the set's scores are Valkey's own time in milliseconds, so that the nodes' clocks need not agree. Nobody is
forgotten before his time: when Valkey was started anew and is empty, or is away, the members that were known stay, the
first for ten seconds and the second until it is back; a node then takes no more than its share of what it cannot share
any more. A node that knows of nobody yet is alone with itself.
"""

import asyncio
import contextlib
from collections.abc import Callable

from trinity.cache.client import CacheClient, CacheScript
from trinity.cache.keys import CLUSTER_NODES, STATS_SECONDS
from trinity.clock import NS_PER_MS, NS_PER_SECOND, Clock
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import CLUSTER

BEAT_SECONDS = 1.0
_NODES = CLUSTER.index("cluster_nodes")

# Write this node's beat, forget who has not beaten for long, and say who beat when: one step, by the server's clock.
_BEAT = CacheScript(
    f"""
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZADD', KEYS[1], ms, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms - {STATS_SECONDS * 1000})
local found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 2, #found, 2 do found[i] = ms - found[i] end
return found
"""
)


class Members:
    """The living nodes, as this one knows them."""

    def __init__(self, node: str, block: ProcessBlock) -> None:
        self._node, self._block = node, block
        self._names: tuple[str, ...] = (node,)
        self._beat_at_ns: dict[str, int] = {}
        block.set_gauge(_NODES, 1.0)

    @property
    def names(self) -> tuple[str, ...]:
        """Sorted; this node is always among them."""
        return self._names

    @property
    def count(self) -> int:
        return len(self._names)

    @property
    def is_known(self) -> bool:
        """Whether Valkey has said who lives, at least once."""
        return bool(self._beat_at_ns)

    @property
    def index(self) -> int:
        """This node's place among them."""
        return self._names.index(self._node)

    def take(self, ages_ms: dict[str, int], now_ns: int) -> None:
        """What Valkey says: how long ago each node beat."""
        for name, age_ms in ages_ms.items():
            self._beat_at_ns[name] = now_ns - age_ms * NS_PER_MS
        self._beat_at_ns = {
            name: at_ns for name, at_ns in self._beat_at_ns.items() if now_ns - at_ns <= STATS_SECONDS * NS_PER_SECOND
        }
        self._names = tuple(sorted({*self._beat_at_ns, self._node}))
        self._block.set_gauge(_NODES, float(self.count))


class MembersBeat:
    """The task that beats for this node and learns of the others."""

    def __init__(
        self, members: Members, node: str, cache: CacheClient, clock: Clock, turned: Callable[[], None]
    ) -> None:
        self._members, self._node, self._cache, self._clock, self._turned = members, node, cache, clock, turned

    async def run(self) -> None:
        """Beat every second."""
        while True:
            try:
                (reply,) = await self._cache.script(_BEAT, [(CLUSTER_NODES.name(), [self._node])])
                if not isinstance(reply, CacheReplyError):
                    ages_ms = {name.decode(): int(age) for name, age in zip(reply[::2], reply[1::2], strict=True)}
                    self._members.take(ages_ms, self._clock.monotonic_ns())
            except CacheUnavailableError:
                pass  # the client has told it
            self._turned()
            await asyncio.sleep(BEAT_SECONDS)

    async def leave(self) -> None:
        """A node that stops is gone at once, not after ten seconds."""
        with contextlib.suppress(CacheUnavailableError):  # then it will be missed
            await self._cache.run([("ZREM", CLUSTER_NODES.name(), self._node)])
