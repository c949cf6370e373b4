"""The access process: keeps shared memory at what PostgreSQL says about keys, plans and blocks.

Start: the snapshot, then the database. It hears of changes by LISTEN, and compares everything each
COMPARE_SECONDS all the same, because a notification can be lost. While the database is down, what is known goes on to
hold, ends of keys and blocks included, and a connection is tried again and again.

Rules: one event loop; whatever takes long gives way to it. The process beats as the slower of the two loops that keep
shared memory true: the one that follows the database, and the one that ends what has an end. So a loop that hangs is
seen, though the others go on. What a loop waits for has a bound (`_Progress.during`), beyond which it is given up. No
request waits for this process, and the node lives on without it.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable
from pathlib import Path
from random import Random
from typing import TypeVar

import psycopg

from trinity.backoff import Backoff
from trinity.clock import NS_PER_SECOND, Clock
from trinity.config import AccessSection
from trinity.errors import SchemaError, StoreUnavailableError
from trinity.memory.access import AccessMemory
from trinity.memory.control import ProcessBlock
from trinity.memory.limit_table import LimitTable
from trinity.observe.log import Outage
from trinity.process import ProcessContext
from trinity.store import migrate
from trinity.store.connect import reason_of
from trinity.store.watch import Watch
from workers.access.database import AsyncConnection, connect, wait_for_change
from workers.access.sync import AccessSync

BEAT_SECONDS = 0.2
# A lost notification is repaired after this long ...
COMPARE_SECONDS = 30.0
# ... but comparing takes at most this share of the time: with a million keys it takes two seconds.
_COMPARE_SHARE = 0.05
# Between tries to connect: a server that comes back finds every node within two seconds.
_RETRY_FLOOR_SECONDS, _RETRY_BASE_SECONDS, _RETRY_CAP_SECONDS = 0.05, 0.2, 2.0

# A statement is given up after 11 s; a comparison makes a step with each.
_STEP_SECONDS_MAX = 15.0

_DOWN = (psycopg.Error, OSError, TimeoutError, StoreUnavailableError)
_T = TypeVar("_T")


def run(context: ProcessContext, tables: AccessMemory, section: AccessSection, data_dir: Path, url: str) -> None:
    """Keep shared memory up to date until SIGTERM or SIGINT."""
    asyncio.run(_serve(context, tables, section, data_dir, url))


async def _serve(
    context: ProcessContext, tables: AccessMemory, section: AccessSection, data_dir: Path, url: str
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    progress = _Progress(context.block, context.clock)
    sync = AccessSync(context, tables, section, data_dir, progress.step)
    async with asyncio.TaskGroup() as tasks:
        works = (_end(context, tables.limits, sync, progress), _save(sync), _follow(context, sync, url, progress))
        running = [tasks.create_task(work) for work in works]
        await stop.wait()
        for task in running:
            task.cancel()
    await sync.save_snapshot_if_dirty()


class _Progress:
    """When the following and the ending loop last made progress: the process beats as the slower one."""

    def __init__(self, block: ProcessBlock, clock: Clock) -> None:
        self._block, self._clock = block, clock
        self._follow_ns = self._end_ns = self._step_ns = clock.monotonic_ns()
        block.beat(self._follow_ns)

    def ended(self) -> None:
        """The ending loop made a turn."""
        self._end_ns = self._clock.monotonic_ns()
        self._beat()

    def followed(self) -> None:
        """The following loop made a turn, or waits for something within its bound."""
        self._follow_ns = self._clock.monotonic_ns()
        self._beat()

    def step(self) -> None:
        """What the following loop waits for made a step."""
        self._step_ns = self._clock.monotonic_ns()

    async def during(self, work: Awaitable[_T], seconds: float) -> _T:
        """Wait for work of the following loop; TimeoutError when it makes no step for so long."""
        task = asyncio.ensure_future(work)
        self.step()
        try:
            while not task.done():
                if self._clock.monotonic_ns() - self._step_ns > seconds * NS_PER_SECOND:
                    raise TimeoutError(f"no progress for {seconds:.0f} s")
                self.followed()
                await asyncio.wait({task}, timeout=BEAT_SECONDS)
            return task.result()
        finally:
            task.cancel()

    def _beat(self) -> None:
        self._block.beat(min(self._follow_ns, self._end_ns))


async def _end(context: ProcessContext, limits: LimitTable, sync: AccessSync, progress: _Progress) -> None:
    """Ends of keys and blocks when they come; a clock that jumped is seen at the next turn."""
    while True:
        await sync.tick()
        limits.note_clock(context.clock.monotonic_ns(), context.clock.wall_ns())
        progress.ended()
        await asyncio.sleep(min(BEAT_SECONDS, sync.seconds_until_end()))


async def _save(sync: AccessSync) -> None:
    while True:
        await asyncio.sleep(await sync.save_snapshot_if_dirty())


async def _follow(context: ProcessContext, sync: AccessSync, url: str, progress: _Progress) -> None:
    """The snapshot, then the database forever; an outage is reported when it begins and when it ends."""
    sync.report_database(False)  # whatever a predecessor said
    await progress.during(sync.load_snapshot(), _STEP_SECONDS_MAX)
    outage = Outage(context.log, logging.WARNING, "without the database", "the database answers")
    backoff = Backoff(Random(), _RETRY_FLOOR_SECONDS, _RETRY_BASE_SECONDS, _RETRY_CAP_SECONDS, reset_seconds=0)
    watch = Watch(url)
    watch.start()  # it ends with the process
    while True:
        sync.report_database(False)
        backoff.on_try(context.clock.monotonic_ns())
        try:
            await progress.during(asyncio.to_thread(migrate.check, url), _STEP_SECONDS_MAX)
            async with await progress.during(connect(url, watch), _STEP_SECONDS_MAX) as connection:
                seconds = await _compare(context, sync, connection, progress)
                sync.report_database(True)
                outage.up()
                backoff.on_good(context.clock.monotonic_ns())
                await _listen(context, sync, connection, seconds, progress)
        except SchemaError as error:
            outage.fault(str(error))
        except _DOWN as error:
            reason = reason_of(error) if isinstance(error, psycopg.Error) else str(error) or type(error).__name__
            outage.down(reason, context.clock.monotonic_ns())
        now_ns = context.clock.monotonic_ns()
        backoff.on_failure(now_ns)
        await progress.during(asyncio.sleep((backoff.due_ns - now_ns) / NS_PER_SECOND), _STEP_SECONDS_MAX)


async def _listen(
    context: ProcessContext, sync: AccessSync, connection: AsyncConnection, compared_seconds: float, progress: _Progress
) -> None:
    """Take over every change, and compare now and then, until the connection fails."""
    while True:
        gap_seconds = max(COMPARE_SECONDS, compared_seconds / _COMPARE_SHARE)
        due_ns = context.clock.monotonic_ns() + int(gap_seconds * NS_PER_SECOND)
        while (left_ns := due_ns - context.clock.monotonic_ns()) > 0:
            progress.followed()
            change = await wait_for_change(connection, min(BEAT_SECONDS, left_ns / NS_PER_SECOND))
            if change is not None:
                await progress.during(sync.take(connection, change), _STEP_SECONDS_MAX)
        compared_seconds = await _compare(context, sync, connection, progress)


async def _compare(
    context: ProcessContext, sync: AccessSync, connection: AsyncConnection, progress: _Progress
) -> float:
    """Compare everything; returns how many seconds it took."""
    started_ns = context.clock.monotonic_ns()
    await progress.during(sync.compare(connection), _STEP_SECONDS_MAX)
    return (context.clock.monotonic_ns() - started_ns) / NS_PER_SECOND
