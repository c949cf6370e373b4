"""Process contexts for tests: one process of a node of its own, over real shared memory."""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from trinity.clock import Clock, SystemClock
from trinity.markets import Catalog
from trinity.memory.access import AccessMemory
from trinity.memory.answer_table import AnswerTable
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.memory.price_table import PriceTable
from trinity.process import ConsensusMemory, FeedMemory, ProcessContext


@dataclass(frozen=True, kw_only=True)
class OpenContext(ProcessContext):
    """A process's context, together with the memory around it, which the test reads and writes."""

    memory: NodeMemory
    tables: AccessMemory
    wake_fd: int

    @property
    def prices(self) -> PriceTable:
        return self.memory.prices

    @property
    def answers(self) -> AnswerTable:
        return self.memory.answers

    @property
    def of_feed(self) -> FeedMemory:
        return FeedMemory(self.memory.prices, self.memory.answers, self.wake_fd, self.memory.assets)

    @property
    def of_consensus(self) -> ConsensusMemory:
        return ConsensusMemory(self.memory.prices, self.memory.answers, self.wake_fd)


def context_of(memory: NodeMemory, index: int = 0, clock: Clock | None = None, **changes: Any) -> ProcessContext:
    """The context of process `index` of a node that the test has made; nobody commands it."""
    return replace(ProcessContext.of(memory, index, clock or SystemClock(), -1), **changes)


@contextlib.contextmanager
def node_of(catalog: Catalog, *processes: ProcessEntry, simulated: bool = True) -> Iterator[NodeMemory]:
    """The memory of a node with these processes, removed at the end."""
    memory = NodeMemory.create(Card(f"test-{uuid4().hex[:12]}", simulated, processes, catalog))
    try:
        yield memory
    finally:
        memory.unlink()


@contextlib.contextmanager
def open_context(
    name: str, kind: str, catalog: Catalog, clock: Clock | None = None, *, simulated: bool = True, keys_max: int = 1
) -> Iterator[OpenContext]:
    """The context of a node's only process, with eventfds of its own."""
    wake_fd, control_fd = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
    log = logging.getLogger(f"test.{name}.{uuid4().hex[:12]}")
    log.setLevel(logging.INFO)
    try:
        with node_of(catalog, ProcessEntry(name, kind), simulated=simulated) as memory:
            made = replace(ProcessContext.of(memory, 0, clock or SystemClock(), control_fd), log=log)
            yield OpenContext(**vars(made), memory=memory, tables=AccessMemory.private(keys_max), wake_fd=wake_fd)
    finally:
        os.close(wake_fd)
        os.close(control_fd)
