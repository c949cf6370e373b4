"""workers/api/base/serving/pool.py"""

import asyncio

import psycopg
import pytest
from psycopg_pool import PoolTimeout

from tests.support.clocks import ManualClock
from tests.workers.api.conftest import NO_DATABASE
from trinity.store.connect import bounded
from trinity.store.watch import Watch
from workers.api.base.serving.pool import CHECKED_NS, make_pool


async def test_nobody_waits_for_a_database_that_answers_nobody() -> None:
    """As soon as it is known to be away, a connection is refused at once."""
    watch = Watch(NO_DATABASE)
    watch.start()
    pool = make_pool(bounded(NO_DATABASE, "test", 5), watch, ManualClock())
    await pool.open(wait=False)
    try:
        async with asyncio.timeout(60):
            while watch.is_up:
                await asyncio.sleep(0.01)
        with pytest.raises(PoolTimeout):
            await pool.getconn()
    finally:
        watch.stop()
        await pool.close()


async def test_a_connection_only_reads_and_is_asked_again_after_a_while(database_url: str) -> None:
    """What was good a moment ago is given out unasked; a connection that died meanwhile is replaced later."""
    clock, watch = ManualClock(), Watch(database_url)
    watch.start()
    pool = make_pool(bounded(database_url, "test", 5), watch, clock)
    await pool.open(wait=True)
    try:
        async with asyncio.timeout(60):
            while not watch.is_up:
                await asyncio.sleep(0.01)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                async with pool.connection() as connection:
                    await connection.execute("CREATE TABLE nothing ()")
            async with pool.connection() as first:
                pass
            clock.advance(CHECKED_NS / 1e9)
            await first.close()
            async with pool.connection() as second:
                assert second is not first
    finally:
        watch.stop()
        await pool.close()
