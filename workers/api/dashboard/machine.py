"""What the node takes of its machine: room on the disk, size of the database, processor and memory of each process.

Rules: the size of a database and the room on a disk are asked for by one task at a time, each LOOK_SECONDS at most and
only while somebody looks; whoever asks gets what was found last, and null where it was not found in time: a disk that
hangs holds up one thread, and no page.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import psycopg
import psycopg_pool
from psycopg_pool import AsyncConnectionPool

from trinity.clock import NS_PER_SECOND, Clock
from trinity.observe.machine import DiskRoom, read_disk_room, read_process_use
from trinity.observe.readings import ProcessView
from trinity.store.queries import load

Json = dict[str, Any]

LOOK_SECONDS = 10
# A file system knows its room at once, and a database its size within some 10 ms; a network's may be away.
LATE_SECONDS = 3


class MachineFigures:
    """One process's last look."""

    def __init__(self, clock: Clock, data_dir: Path, pool: AsyncConnectionPool) -> None:
        self._clock = clock
        self._data_dir = data_dir
        self._pool = pool
        self._asked_at_ns = -LOOK_SECONDS * NS_PER_SECOND
        self._looking: asyncio.Task[None] | None = None
        self._disk: DiskRoom | None = None
        self._database_bytes: int | None = None

    def read(self) -> Json:
        """What was found last; a look is begun when that is old."""
        age_ns = self._clock.monotonic_ns() - self._asked_at_ns
        is_looking = self._looking is not None and not self._looking.done()
        if not is_looking and age_ns >= LOOK_SECONDS * NS_PER_SECOND:
            self._asked_at_ns = self._clock.monotonic_ns()
            self._looking = asyncio.create_task(self._look())
        elif is_looking and age_ns >= LATE_SECONDS * NS_PER_SECOND:
            self._disk = self._database_bytes = None
        disk = self._disk
        return {
            "disk": None if disk is None else {"size_bytes": disk.size_bytes, "free_bytes": disk.free_bytes},
            "database_bytes": self._database_bytes,
        }

    async def _look(self) -> None:
        self._database_bytes = None
        with contextlib.suppress(psycopg.Error, psycopg_pool.PoolTimeout):
            async with self._pool.connection() as connection:
                found = await (await connection.execute(load("dashboard.database_size"))).fetchone()
            self._database_bytes = None if found is None else int(found[0])
        self._disk = await asyncio.to_thread(read_disk_room, self._data_dir)


def use_of(view: ProcessView) -> Json:
    """Processor time since its start, and memory with what it shares with others; null for one that is not there."""
    use = read_process_use(view.pid) if view.alive else None
    return {"cpu_seconds": None, "resident_bytes": None} if use is None else use._asdict()
