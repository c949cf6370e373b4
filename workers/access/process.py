"""The access process: keeps shared memory at what PostgreSQL says about keys, plans and blocks.

Start: the snapshot, then the database. It hears of changes by LISTEN, and compares everything each
COMPARE_SECONDS all the same, because a notification can be lost. While the database is down, what is known goes on to
hold, ends of keys and blocks included, and a connection is tried again and again.

Rules: one event loop, which beats; whatever takes long gives way to it. No request waits for this process, and the
node lives on without it.
"""

import asyncio
import random
import signal
from pathlib import Path

import numpy as np
import psycopg

from trinity.clock import NS_PER_SECOND
from trinity.config import AccessSection
from trinity.errors import SchemaError, StoreUnavailableError
from trinity.memory.key_table import DIGEST_BYTES, KeyState, KeyTable
from trinity.seat import Seat
from trinity.store import migrate
from trinity.store.connect import reason_of
from trinity.store.watch import Watch
from workers.access.database import AsyncConnection, connect, wait_for_change
from workers.access.keeper import Keeper

BEAT_SECONDS = 0.2
# A lost notification is repaired after this long ...
COMPARE_SECONDS = 30.0
# ... but comparing takes at most this share of the time: with a million keys it takes two seconds.
_COMPARE_SHARE = 0.05
# Back-off between tries to connect, with jitter: a server that comes back finds every node within two seconds.
_RETRY_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0)

_DOWN = (psycopg.Error, OSError, TimeoutError, StoreUnavailableError, SchemaError)


def run(seat: Seat, section: AccessSection, data_dir: Path, url: str) -> None:
    """Keep shared memory up to date until SIGTERM or SIGINT."""
    asyncio.run(_serve(seat, section, data_dir, url))


def warm_up() -> None:
    """Compile, or load from the cache, what writes the key table."""
    keys = KeyTable.private(1)
    keys.write(1, bytes(DIGEST_BYTES), KeyState.ACTIVE, 1, 1, 1, dry_run=False)
    keys.revoke_others(np.zeros(0, dtype=np.int64))


async def _serve(seat: Seat, section: AccessSection, data_dir: Path, url: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    seat.block.beat(seat.clock.monotonic_ns())
    keeper = Keeper(seat, section, data_dir)
    async with asyncio.TaskGroup() as tasks:
        works = (_beat(seat), _end(keeper), _save(keeper), _follow(seat, keeper, url))
        running = [tasks.create_task(work) for work in works]
        await stop.wait()
        for task in running:
            task.cancel()
    await keeper.save_news()


async def _beat(seat: Seat) -> None:
    while True:
        seat.block.beat(seat.clock.monotonic_ns())
        seat.limits.note_clock(seat.clock.monotonic_ns(), seat.clock.wall_ns())
        await asyncio.sleep(BEAT_SECONDS)


async def _end(keeper: Keeper) -> None:
    """Ends of keys and blocks when they come; a clock that jumped is seen at the next beat."""
    while True:
        await keeper.tick()
        await asyncio.sleep(min(BEAT_SECONDS, keeper.seconds_until_end()))


async def _save(keeper: Keeper) -> None:
    while True:
        await asyncio.sleep(await keeper.save_news())


async def _follow(seat: Seat, keeper: Keeper, url: str) -> None:
    """The snapshot, then the database for ever; an outage is reported when it begins and when it ends."""
    await keeper.load_snapshot()
    failures, reported = 0, ""
    watch = Watch(url)
    watch.start()  # it ends with the process
    while True:
        keeper.report_database(False)
        try:
            await asyncio.to_thread(migrate.ensure, url)
            async with await connect(url, watch) as connection:
                seconds = await _compare(seat, keeper, connection)
                seat.log.info("the database answers", extra={"fields": {"compared_seconds": round(seconds, 3)}})
                keeper.report_database(True)
                failures, reported = 0, ""
                await _listen(seat, keeper, connection, seconds)
        except _DOWN as error:
            reason = reason_of(error) if isinstance(error, psycopg.Error) else str(error) or type(error).__name__
            if reason != reported:
                seat.log.warning("without the database", extra={"fields": {"reason": reason}})
            reported = reason
        delay = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
        failures += 1
        await asyncio.sleep(random.uniform(delay / 2, delay))


async def _listen(seat: Seat, keeper: Keeper, connection: AsyncConnection, compared_seconds: float) -> None:
    """Take over every change, and compare now and then, until the connection fails."""
    while True:
        gap_seconds = max(COMPARE_SECONDS, compared_seconds / _COMPARE_SHARE)
        due_ns = seat.clock.monotonic_ns() + int(gap_seconds * NS_PER_SECOND)
        while (left_ns := due_ns - seat.clock.monotonic_ns()) > 0:
            change = await wait_for_change(connection, left_ns / NS_PER_SECOND)
            if change is not None:
                await keeper.take(connection, change)
        compared_seconds = await _compare(seat, keeper, connection)


async def _compare(seat: Seat, keeper: Keeper, connection: AsyncConnection) -> float:
    """Compare everything; returns how many seconds it took."""
    started_ns = seat.clock.monotonic_ns()
    await keeper.compare(connection)
    return (seat.clock.monotonic_ns() - started_ns) / NS_PER_SECOND
