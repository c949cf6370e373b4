"""workers/access/sync.py: ends of keys and blocks, by clocks that are right, ahead or set back"""

import datetime
from pathlib import Path

import pytest

from tests.support.contexts import OpenContext
from tests.workers.access.conftest import move
from tests.workers.access.test_database import insert_keys
from tests.workers.access.test_sync import WALL, make_sync, reborn, states
from tests.workers.access.test_tables import blocked
from workers.access.database import AsyncConnection
from workers.access.rows import ACTIVE, REVOKED


async def test_ends_come_with_the_database_down(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """A key past its end is revoked and a block lifted by the clock alone, also out of a snapshot."""
    await insert_keys(connection, 2)
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    await connection.execute("UPDATE api_keys SET expires_at = %s WHERE id = 2", [end])
    end += datetime.timedelta(seconds=60)
    await connection.execute("INSERT INTO blocks (network, expires_at) VALUES ('203.0.113.0/24', %s)", [end])
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    await sync.save_snapshot_if_dirty()
    later = reborn(context)
    sync = make_sync(later, tmp_path)
    await sync.load_snapshot()
    move(later, (end - WALL).total_seconds() - 61)
    await sync.tick()
    assert states(later, 1, 2) == [ACTIVE, ACTIVE]
    move(later, 2)
    await sync.tick()
    assert states(later, 1, 2) == [ACTIVE, REVOKED]
    assert blocked(later, "203.0.113.1")
    move(later, 61)
    await sync.tick()
    assert not blocked(later, "203.0.113.1")


async def test_a_clock_that_was_ahead_is_forgiven_when_it_is_set_back(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """The ends that it brought too early are taken back, without the database too, and come when they are due."""
    await insert_keys(connection, 1)
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    await connection.execute("UPDATE api_keys SET expires_at = %s", [end])
    await connection.execute("INSERT INTO blocks (network, expires_at) VALUES ('203.0.113.0/24', %s)", [end])
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    ahead = (end - WALL).total_seconds() + 60
    for seconds, state in ((ahead, REVOKED), (-120, ACTIVE), (120, REVOKED)):
        move(context, seconds)
        await sync.tick()
        assert states(context, 1) == [state]
        assert blocked(context, "203.0.113.1") == (state == ACTIVE)


async def test_a_clock_set_back_lets_no_ended_key_in(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """The database's clock ends it as well, here years ahead of the node's."""
    await insert_keys(connection, 2)
    await connection.execute("UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = 1")
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    assert states(context, 1, 2) == [REVOKED, ACTIVE]


async def test_a_later_life_lifts_a_block_at_its_end_without_a_database(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """The process was restarted in a running node: the snapshot tells it when the block ends."""
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    await connection.execute("INSERT INTO blocks (network, expires_at) VALUES ('203.0.113.0/24', %s)", [end])
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    await sync.save_snapshot_if_dirty()
    sync = make_sync(context, tmp_path)
    await sync.load_snapshot()
    move(context, (end - WALL).total_seconds() - 1)
    await sync.tick()
    assert blocked(context, "203.0.113.1")
    move(context, 2)
    await sync.tick()
    assert not blocked(context, "203.0.113.1")


async def test_an_end_is_known_beforehand(context: OpenContext, tmp_path: Path, connection: AsyncConnection) -> None:
    """The process sleeps until it comes, not longer."""
    await insert_keys(connection, 2)
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    assert sync.seconds_until_end() > 1e9
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    await connection.execute("INSERT INTO blocks (network, expires_at) VALUES ('203.0.113.0/24', %s)", [end])
    await sync.compare(connection)
    assert sync.seconds_until_end() == pytest.approx((end - WALL).total_seconds())
    await connection.execute("UPDATE api_keys SET expires_at = %s", [end - datetime.timedelta(minutes=1)])
    await sync.compare(connection)
    assert sync.seconds_until_end() == pytest.approx((end - WALL).total_seconds() - 60)
    move(context, (end - WALL).total_seconds() - 30)
    assert sync.seconds_until_end() == 0
    await sync.tick()
    assert sync.seconds_until_end() == pytest.approx(30)
