"""Nodes that share their limits through a real Valkey, in one event loop: each has its tables and its two tasks."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from trinity.cache.address import CacheSettings
from trinity.cache.client import CacheClient
from trinity.clock import SystemClock
from trinity.limits import COUNTER_WORDS
from trinity.memory import limit_shares
from trinity.memory.access import AccessMemory
from trinity.memory.control import ProcessBlock
from trinity.memory.gcra import FOUND_WORDS
from trinity.memory.limit_table import ADMITTED, ENTRY_WORDS, HEADER_WORDS, consume_key_rate, take_lookups
from trinity.memory.limit_table import NODES as NODES_WORD
from trinity.rates import requests_of
from trinity.vocabulary import KeyState
from workers.cluster.context import ClusterContext
from workers.cluster.limits.exchange import LimitExchange
from workers.cluster.limits.months import MonthExchange

KEYS = 9


def digest_of(key_id: int) -> bytes:
    return bytes([key_id]) * 32


class Node:
    """One of them; whoever lives is given."""

    def __init__(self, name: str, nodes: int, settings: CacheSettings) -> None:
        limit_shares.warm_up()  # compiled before the first turn, as a node does it
        self.name, self.clock = name, SystemClock()
        self.tables = AccessMemory.private(KEYS)
        self.tables.limits.words[NODES_WORD] = nodes
        self.block = ProcessBlock(np.zeros(8 + COUNTER_WORDS, dtype=np.uint64))
        self.cache = CacheClient.open(settings, self.clock)
        members = SimpleNamespace(sharers=nodes, is_known=True)
        process = SimpleNamespace(node=name, clock=self.clock, block=self.block, log=logging.getLogger("trinity.test"))
        turns = SimpleNamespace(of=lambda _task: lambda: None)
        memory = SimpleNamespace(access=self.tables)
        self.context = cast(
            ClusterContext,
            SimpleNamespace(
                process=process, clock=self.clock, members=members, memory=memory, cache=self.cache, turns=turns
            ),
        )
        self.found = np.zeros(FOUND_WORDS, dtype=np.int64)
        self.terms: dict[int, tuple[int, int]] = {}
        self._running: list[asyncio.Task[None]] = []
        self.begin()

    def begin(self) -> None:
        """The tasks of a new process."""
        self.months = MonthExchange(self.context)
        self.limits = LimitExchange(self.context, self.months.moved)

    def grant(self, key_id: int, rate: int, burst: int, quota: int = 0) -> None:
        self.terms[key_id] = rate, burst
        self.tables.keys.write(key_id, digest_of(key_id), KeyState.ACTIVE, rate, burst, quota, dry_run=False)
        assert requests_of(rate) >= 0

    def ask(self, key_id: int) -> bool:
        """One request of the key, as a worker admits it."""
        rate, burst = self.terms[key_id]
        now_ns = self.clock.monotonic_ns()
        return bool(consume_key_rate(self.tables.limits.words, key_id, now_ns, rate, burst, self.found))

    def look_up(self, key_id: int, month: int, quota: int, lookups: int = 1) -> int:
        return int(take_lookups(self.tables.limits.words, key_id, month, quota, lookups))

    def admitted(self, key_id: int) -> int:
        return int(self.tables.limits.words[HEADER_WORDS + key_id * ENTRY_WORDS + ADMITTED])

    def start(self) -> None:
        self._running = [asyncio.create_task(task.run()) for task in (self.limits, self.months)]

    async def stop(self) -> None:
        """As a process that is killed: nothing is said."""
        for task in self._running:
            task.cancel()
        done: list[Any] = await asyncio.gather(*self._running, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in done), done
        self._running = []

    async def close(self) -> None:
        await self.stop()
        await self.cache.close()
