"""The task that adds up a key's month over all nodes: each tells what it counted itself, and learns the sum.

    moved keys    told at most once a second each, and at once where the month is nearly used up
    all others    their sums are read again and again, so that this node knows of a key that is used elsewhere alone

Rules: what is told is this node's own count so far, and what it knows of all, so a word that was lost or came twice
changes nothing. What is known of the other nodes never falls within a month, and is never more than they have counted:
a Valkey that was emptied gives no month again, and whoever sees that a sum fell tells all that it knows anew. A node
that lost its own counts has them back from Valkey; what no node knows any more comes from the ledger
(ledger_months.py).
"""

import asyncio
import contextlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trinity.access.months import find_month, start_of_month
from trinity.cache.client import CacheScript
from trinity.cache.keys import USAGE_COUNTER, USAGE_COUNTER_NODES
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.memory.key_table import DIGEST_BYTES, TERMS_SLOT_WORDS
from trinity.memory.limit_shares import COUNTS, column, raise_months, read_counts
from trinity.memory.limit_table import COUNT_MASK, ELSEWHERE, MONTH_FLOOR, MONTH_SHIFT, QUOTA
from trinity.observe.metrics import CLUSTER
from workers.cluster.context import ClusterContext

USAGE_SCRIPT = CacheScript(files(__package__).joinpath("usage.lua").read_text())

_TURN_SECONDS = 0.1
_REST_NS = NS_PER_SECOND
# Of its quota: from here on the nodes tell each other at every turn, so that all stop within one.
_NEARLY_PARTS = 50
# Keys of one turn, which shares its loop with the rates' 20 ms: a key that is told takes Valkey 20 us and this process
# 50 us. So 1,000 keys are told in a second, and 1,000 others are read.
_TOLD_MAX, _READ_MAX = 100, 100
# A month's names outlive it by this, for whoever's clock is late.
_LIFE_BEYOND_MS = 3_600_000
# Fields of the hash beside the nodes', whose names begin with a letter or a digit.
_MONTH_FIELD, _KNOWN_FIELD = ".month", ".known"
_TOLD = CLUSTER.index("cluster_months_keys_total")
_MONTH_BITS, _COUNT_BITS = np.uint64(MONTH_SHIFT), np.uint64(COUNT_MASK)
_MONTHLY, _QUOTA = COUNTS.index("monthly_quota"), COUNTS.index("quota")


class MonthExchange:
    """This node's side of the sums."""

    def __init__(self, cluster: ClusterContext) -> None:
        self._cluster, self._clock = cluster, cluster.clock
        self._keys, self._limits = cluster.memory.access.keys, cluster.memory.access.limits
        self._quotas, self._elsewhere = column(self._limits.words, QUOTA), column(self._limits.words, ELSEWHERE)
        self._terms = np.zeros(TERMS_SLOT_WORDS, dtype=np.uint64)
        self._month = 0
        size = self._quotas.size
        self._told = np.zeros(size, dtype=np.int64)  # of this node, as Valkey has it
        self._told_at_ns = np.full(size, -_REST_NS, dtype=np.int64)
        self._waits = (self._quotas & _COUNT_BITS) > 0  # after a start, all that was ever counted
        self._next_id = 1
        self._turned = cluster.turns.of("months")

    def moved(self, key_ids: NDArray[np.int64]) -> None:
        """Something was counted of these keys."""
        self._waits[key_ids] = True

    async def run(self) -> None:
        """Ten turns a second, for ever."""
        while True:
            with contextlib.suppress(CacheUnavailableError):  # the client has told it; what waits goes on waiting
                await self.turn()
            self._turned()
            await asyncio.sleep(_TURN_SECONDS)

    async def turn(self) -> None:
        """Tell what is due, and read what others may have counted."""
        month = int(find_month(self._month, self._clock.wall_ns()))
        if month < MONTH_FLOOR:
            return  # a clock that was not set yet
        if month != self._month:
            self._month = month
            self._told[:] = 0
        await self._tell(self._due())
        await self._read(self._next())

    def _due(self) -> NDArray[np.int64]:
        """Keys to tell of now, those first that wait for long."""
        key_ids = np.flatnonzero(self._waits)
        if key_ids.size == 0:
            return key_ids
        rows = np.zeros((key_ids.size, len(COUNTS)), dtype=np.int64)
        read_counts(self._keys.words, self._limits.words, key_ids, self._terms, rows)
        newest, elsewhere = rows[:, _QUOTA] >> MONTH_SHIFT, self._known_elsewhere(key_ids)
        is_now = (newest == self._month) | ((newest < self._month) & (elsewhere > 0))
        self._waits[key_ids[~is_now]] = False  # nothing in this month
        left = rows[:, _MONTHLY] - self._counted(key_ids) - elsewhere
        is_near = (rows[:, _MONTHLY] > 0) & (left * _NEARLY_PARTS < rows[:, _MONTHLY])
        waited_ns = self._clock.monotonic_ns() - self._told_at_ns[key_ids]
        is_due = is_now & (is_near | (waited_ns >= _REST_NS))
        oldest_first: NDArray[np.int64] = key_ids[is_due][np.argsort(-waited_ns[is_due])][:_TOLD_MAX]
        return oldest_first

    def _next(self) -> NDArray[np.int64]:
        """The keys whose turn it is to be read."""
        size = min(_READ_MAX, self._quotas.size - 1)
        key_ids = (self._next_id - 1 + np.arange(size)) % max(self._quotas.size - 1, 1) + 1
        self._next_id = int(key_ids[-1]) + 1 if size else 1
        return key_ids[self._keys.states_of(key_ids) > 0]

    async def _tell(self, key_ids: NDArray[np.int64]) -> None:
        named = self._named(key_ids)
        if not named:
            return
        self._waits[key_ids] = False  # whatever is counted from here on is told next time
        ids = np.array([key_id for key_id, _ in named])
        counted = self._counted(ids)
        node, wall_ns = self._cluster.process.node, self._clock.wall_ns()
        calls = [
            tell_month(digest, node, self._month, count, known, wall_ns)
            for (_, digest), count, known in zip(
                named, counted.tolist(), (counted + self._known_elsewhere(ids)).tolist(), strict=True
            )
        ]
        try:
            replies = await self._cluster.cache.script(USAGE_SCRIPT, calls)
        except CacheUnavailableError:
            self._waits[key_ids] = True
            raise
        self._cluster.process.block.count(_TOLD, len(named))
        now_ns = self._clock.monotonic_ns()
        for (key_id, _), reply in zip(named, replies, strict=True):
            self._told_at_ns[key_id] = now_ns
            if not isinstance(reply, list):
                self._waits[key_id] = True
            elif reply:
                self._learn(key_id, *reply)

    async def _read(self, key_ids: NDArray[np.int64]) -> None:
        """The sum comes first: what this node told meanwhile is taken off it, and so nothing counts twice."""
        named, node = self._named(key_ids), self._cluster.process.node
        sums = await self._cluster.cache.run([("GET", USAGE_COUNTER.name(digest)) for _, digest in named])
        owns = await self._cluster.cache.run(
            [("HMGET", USAGE_COUNTER_NODES.name(digest), _MONTH_FIELD, _KNOWN_FIELD, node) for _, digest in named]
        )
        for (key_id, _), found, own in zip(named, sums, owns, strict=True):
            if isinstance(found, CacheReplyError) or not isinstance(own, list):
                continue
            total = int(found or 0)
            if total < self._told[key_id] + int(self._known_elsewhere(np.array([key_id]))[0]):
                if not self._waits[key_id]:
                    self._tell_all_again()
            elif own[0] is not None and int(own[0]) == self._month:
                told, known = int(own[2] or 0), int(own[1] or 0)
                # The counter is the greater of the nodes' sum and of what is known: one that is not greater than that
                # says nothing of the sum.
                self._learn(key_id, told, total if total > known else told, known)

    def _learn(self, key_id: int, own: int, total: int, known: int) -> None:
        """What Valkey has of this node, the sum of what all nodes told, and what is known of all by whatever way.

        Of the latter a part may be of this node and not told yet, so all that it has counted by now is taken off.
        """
        self._told[key_id] = own
        ids = np.array([key_id])
        raise_months(self._limits.words, ids, self._month, np.array([own]))
        elsewhere = max(total - own, known - int(self._counted(ids)[0]), int(self._known_elsewhere(ids)[0]))
        self._elsewhere[key_id] = np.uint64(self._month << MONTH_SHIFT | elsewhere)

    def _tell_all_again(self) -> None:
        """A sum is smaller than it was: Valkey was emptied, or lost its last seconds."""
        self._told[:] = 0
        for words in (self._quotas, self._elsewhere):
            self._waits |= (words >> _MONTH_BITS) == np.uint64(self._month)
        self._told_at_ns[:] = -_REST_NS

    def _counted(self, key_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Of this month, at this node."""
        words = self._quotas[key_ids]
        return np.where((words >> _MONTH_BITS) == np.uint64(self._month), (words & _COUNT_BITS).astype(np.int64), 0)

    def _known_elsewhere(self, key_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        words = self._elsewhere[key_ids]
        is_now = (words >> _MONTH_BITS) == np.uint64(self._month)
        return np.where(is_now, (words & _COUNT_BITS).astype(np.int64), 0)

    def _named(self, key_ids: NDArray[np.int64]) -> Sequence[tuple[int, str]]:
        """Keys with the names that they have in Valkey."""
        found: list[tuple[int, Any]] = [(key_id, self._keys.digest_of(key_id)) for key_id in key_ids.tolist()]
        return [(key_id, digest.hex()) for key_id, digest in found if digest != bytes(DIGEST_BYTES)]


def tell_month(
    digest: str, teller: str, month: int, counted: int, known: int, wall_ns: int
) -> tuple[tuple[str, ...], list[str | int]]:
    """The script's call that says what one teller counted of a key's month, and what it knows that all have."""
    ends_ms = (int(start_of_month(month + 1)) - wall_ns) // NS_PER_MS + _LIFE_BEYOND_MS
    names = USAGE_COUNTER.name(digest), USAGE_COUNTER_NODES.name(digest)
    return names, [teller, month, counted, known, ends_ms]
