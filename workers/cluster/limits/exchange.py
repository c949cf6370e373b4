"""The task that keeps a key's rate over all nodes: 50 exchanges a second with Valkey, each one round trip.

Rules: `EXCHANGED_AT_NS` in the limit table is when the last ask was sent that was answered; where no key has anything
to say, a PING is the ask. From LIMIT_EXCHANGE_AGE_MAX_NS without one on, the request workers give this node's share of
each plan by themselves, also while this process hangs or is dead; this task only counts and tells it. Before the first
answer after a silence what was reserved has ended, and is taken back.
"""

import asyncio
import logging
from collections.abc import Callable
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from trinity.cache.client import CacheScript
from trinity.cache.keys import RATE_LIMIT
from trinity.clock import NS_PER_SECOND
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.limits import LIMIT_EXCHANGE_AGE_MAX_NS, LIMIT_EXCHANGE_NS
from trinity.memory.atomics import store_release
from trinity.memory.limit_table import EXCHANGED_AT_NS, NODES
from trinity.observe.log import Outage
from trinity.observe.metrics import CLUSTER
from workers.cluster.context import ClusterContext
from workers.cluster.limits.shares import LEASE_NS, Ask, Shares

RATE_LIMIT_SCRIPT = CacheScript(files(__package__).joinpath("ratelimit.lua").read_text())
# Longer than ten exchanges and the answer is of no use.
_TIMEOUT_SECONDS = LIMIT_EXCHANGE_AGE_MAX_NS / NS_PER_SECOND / 2
# Where there is nothing to say, so often: thrice before a node thinks that it is alone.
_PING_NS = 60_000_000

_EXCHANGES, _KEYS, _FAILURES, _IS_BOUNDED, _BOUNDED = (
    CLUSTER.index(f"cluster_limits_{name}")
    for name in ("exchanges_total", "keys_total", "failures_total", "bounded", "bounded_total")
)


class LimitExchange:
    """This node's side of the exchange; `on_moved` is told which keys were counted, of their rate or their month."""

    def __init__(self, cluster: ClusterContext, on_moved: Callable[[NDArray[np.int64]], None]) -> None:
        self._cluster, self._on_moved = cluster, on_moved
        self._node, self._clock, self._block = cluster.process.node, cluster.clock, cluster.process.block
        tables = cluster.memory.access
        self._keys, self._limits = tables.keys, tables.limits
        now_ns = self._clock.monotonic_ns()
        self.shares = Shares(self._keys, self._limits, now_ns)
        self._turned = cluster.turns.of("limits")
        self._answered_at_ns, self._is_bounded = 0, False
        self._nodes = int(self._limits.words[NODES])  # as many as there were, until Valkey says how many there are
        self._reason = "nobody was asked yet"
        away = "no word from the other nodes: this one gives its share of each plan and no more"
        self._outage = Outage(cluster.process.log, logging.WARNING, away, "the nodes share their limits")

    async def run(self) -> None:
        """Exchange for ever; a turn that took longer than its time is followed at once by the next."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.turn()
            self._turned()
            due = max(due + LIMIT_EXCHANGE_NS / NS_PER_SECOND, loop.time())
            await asyncio.sleep(due - loop.time())

    async def turn(self) -> None:
        """One exchange, of at most ASKS_MAX keys."""
        now_ns = self._clock.monotonic_ns()
        if self._cluster.members.is_known and self._nodes != self._cluster.members.sharers:
            self._nodes = self._cluster.members.sharers
            store_release(self._limits.words, NODES, self._nodes)
        if now_ns - self._answered_at_ns > LEASE_NS:
            self.shares.expire(self._nodes)
        asks = self.shares.collect(now_ns, self._nodes)
        self._on_moved(self.shares.moved_ids)
        if asks or now_ns - self._answered_at_ns >= _PING_NS:
            await self._ask(asks, now_ns)
        self._tell()

    async def _ask(self, asks: list[Ask], now_ns: int) -> None:
        self._block.count(_EXCHANGES)
        self._block.count(_KEYS, len(asks))
        try:
            if asks:
                calls = [(self._name_of(ask), ask.arguments(self._node)) for ask in asks]
                replies = await self._cluster.cache.script(RATE_LIMIT_SCRIPT, calls, _TIMEOUT_SECONDS)
            else:
                replies = await self._cluster.cache.run([("PING",)], _TIMEOUT_SECONDS)
        except CacheUnavailableError as error:
            self._block.count(_FAILURES)
            self._reason = str(error)
            self.shares.fail(asks)
            return
        if asks:
            self.shares.take(asks, replies, now_ns)
        if not all(isinstance(reply, CacheReplyError) for reply in replies):  # full, or not permitted: as good as away
            self._answered_at_ns = now_ns
            store_release(self._limits.words, EXCHANGED_AT_NS, now_ns)
        else:
            self._block.count(_FAILURES)
            self._reason = str(replies[0])

    def _name_of(self, ask: Ask) -> str:
        return RATE_LIMIT.name(self._keys.digest_of(ask.key_id).hex())

    def _tell(self) -> None:
        """Whether the workers give this node's share alone."""
        now_ns = self._clock.monotonic_ns()
        is_bounded = now_ns - self._answered_at_ns > LIMIT_EXCHANGE_AGE_MAX_NS
        if is_bounded:
            self._outage.down(self._reason, now_ns)
            self._block.count(_BOUNDED, int(not self._is_bounded))
        else:
            self._outage.up()
        self._is_bounded = is_bounded
        self._block.set_gauge(_IS_BOUNDED, float(is_bounded))
