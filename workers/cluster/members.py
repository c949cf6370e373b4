"""Who lives in the cluster: the nodes whose last beat is not older than ten seconds, by two sorted sets in Valkey.

One has all nodes; the other those that answer callers, among whom is divided what is shared: a push server is none.

Rules: the sets' scores are Valkey's own time in milliseconds, so that the nodes' clocks need not agree. Nobody is
forgotten before his time: when Valkey was started anew and is empty, or is away, the members that were known stay, the
first for ten seconds and the second until it is back; a node then takes no more than its share of what it cannot share
any more. A node that knows of nobody yet is alone with itself.
"""

import asyncio
import contextlib
from collections.abc import Callable

from trinity.cache.client import CacheClient, CacheScript
from trinity.cache.keys import CLUSTER_ANSWERING, CLUSTER_NODES, STATS_SECONDS
from trinity.clock import NS_PER_MS, NS_PER_SECOND, Clock
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import CLUSTER

BEAT_SECONDS = 1.0
_NODES = CLUSTER.index("cluster_nodes")

# Write this node's beat where it belongs to the set, forget who has not beaten for long, and say who beat when: one
# step, by the server's clock.
_BEAT = CacheScript(
    f"""
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
if ARGV[1] ~= '' then redis.call('ZADD', KEYS[1], ms, ARGV[1]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms - {STATS_SECONDS * 1000})
local found = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 2, #found, 2 do found[i] = ms - found[i] end
return found
"""
)


class Members:
    """The living nodes, as this one knows them."""

    def __init__(self, node: str, block: ProcessBlock, *, answers: bool = True) -> None:
        self.node, self.answers, self._block = node, answers, block
        self._names: tuple[str, ...] = (node,)
        self._beat_at_ns: dict[str, int] = {}
        self._answering_at_ns: dict[str, int] = {}
        self._sharers = 1
        self._is_known = False
        block.set_gauge(_NODES, 1.0)

    @property
    def names(self) -> tuple[str, ...]:
        """Sorted; this node is always among them."""
        return self._names

    @property
    def count(self) -> int:
        return len(self._names)

    @property
    def sharers(self) -> int:
        """How many nodes answer callers, this one among them if it does; at least 1."""
        return self._sharers

    @property
    def is_known(self) -> bool:
        """Whether Valkey has said who answers, at least once."""
        return self._is_known

    @property
    def index(self) -> int:
        """This node's place among them."""
        return self._names.index(self.node)

    def take(self, ages_ms: dict[str, int], answering_ages_ms: dict[str, int], now_ns: int) -> None:
        """What Valkey says: how long ago each node beat, and each that answers."""
        self._beat_at_ns = _alive(self._beat_at_ns, ages_ms, now_ns)
        self._answering_at_ns = _alive(self._answering_at_ns, answering_ages_ms, now_ns)
        self._names = tuple(sorted({*self._beat_at_ns, self.node}))
        itself = {self.node} if self.answers else set()
        self._sharers = max(len({*self._answering_at_ns, *itself}), 1)
        self._is_known = True
        self._block.set_gauge(_NODES, float(self.count))


def _alive(beat_at_ns: dict[str, int], ages_ms: dict[str, int], now_ns: int) -> dict[str, int]:
    """When each beat last, by what was known and what is said now, without those that are too long ago."""
    said = beat_at_ns | {name: now_ns - age_ms * NS_PER_MS for name, age_ms in ages_ms.items()}
    return {name: at_ns for name, at_ns in said.items() if now_ns - at_ns <= STATS_SECONDS * NS_PER_SECOND}


class MembersBeat:
    """The task that beats for this node and learns of the others."""

    def __init__(self, members: Members, cache: CacheClient, clock: Clock, turned: Callable[[], None]) -> None:
        self._members, self._cache, self._clock, self._turned = members, cache, clock, turned

    async def run(self) -> None:
        """Beat every second."""
        while True:
            try:
                node = self._members.node
                beats: list[tuple[str, list[str | int | bytes]]] = [
                    (CLUSTER_NODES.name(), [node]),
                    (CLUSTER_ANSWERING.name(), [node if self._members.answers else ""]),
                ]
                replies = await self._cache.script(_BEAT, beats)
                if not any(isinstance(reply, CacheReplyError) for reply in replies):
                    of_all, of_answering = map(_ages_ms, replies)
                    self._members.take(of_all, of_answering, self._clock.monotonic_ns())
            except CacheUnavailableError:
                pass  # the client has told it
            self._turned()
            await asyncio.sleep(BEAT_SECONDS)

    async def leave(self) -> None:
        """A node that stops is gone at once, not after ten seconds."""
        with contextlib.suppress(CacheUnavailableError):  # then it will be missed
            await self._cache.run(
                [("ZREM", pattern.name(), self._members.node) for pattern in (CLUSTER_NODES, CLUSTER_ANSWERING)]
            )


def _ages_ms(reply: list[bytes]) -> dict[str, int]:
    return {name.decode(): int(age) for name, age in zip(reply[::2], reply[1::2], strict=True)}
