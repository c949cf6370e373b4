"""What every task of the cluster process is given, and how it says that it makes progress.

Rules: a task runs forever and never ends by itself. All that it asks of Valkey is bounded in time and may raise
CacheUnavailableError, which is a state of the world: it is no reason to stand still. So a task makes a turn whether
Valkey answers or not, and says so; the process beats as the slowest of them.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from trinity.cache.client import CacheClient
from trinity.clock import Clock
from trinity.memory.control import ProcessBlock
from trinity.process import ClusterMemory, ProcessContext
from workers.cluster.members import Members


class ClusterTask(Protocol):
    """One thing that the process does, forever."""

    async def run(self) -> None: ...


class Turns:
    """When each task made its last turn: the process beats as the one whose turn is longest ago."""

    def __init__(self, block: ProcessBlock, clock: Clock) -> None:
        self._block, self._clock = block, clock
        self._turned_at_ns: dict[str, int] = {}

    def of(self, task: str) -> Callable[[], None]:
        """What the task calls at each of its turns, at least every two seconds."""
        self._turned_at_ns[task] = self._clock.monotonic_ns()

        def turned() -> None:
            self._turned_at_ns[task] = self._clock.monotonic_ns()
            self._block.beat(min(self._turned_at_ns.values()))

        return turned


@dataclass(frozen=True)
class ClusterContext:
    """The process, its memory, its client of Valkey, and who else there is."""

    process: ProcessContext
    memory: ClusterMemory
    cache: CacheClient
    members: Members
    node_uuid: uuid.UUID
    turns: Turns

    @property
    def clock(self) -> Clock:
        return self.process.clock
