"""workers/access/sync.py, on a real PostgreSQL"""

import asyncio
import datetime
import threading
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.contexts import OpenContext
from tests.support.quota import quota_used
from tests.workers.access.conftest import KEYS_MAX, WALL_NS, gauge, move, snapshot_path
from tests.workers.access.test_database import insert_keys
from tests.workers.access.test_tables import blocked
from trinity.config import AccessSection
from trinity.memory.access import AccessMemory
from trinity.memory.limit_table import take_lookups
from trinity.store.watch import Watch
from workers.access import database
from workers.access import sync as sync_module
from workers.access.database import AsyncConnection, Change
from workers.access.rows import ACTIVE, KEY_DTYPE, REVOKED, SUSPENDED, Rows
from workers.access.snapshot import Snapshot, load
from workers.access.sync import AccessSync
from workers.access.tables import KEYS_AT_ONCE

WALL = datetime.datetime.fromtimestamp(WALL_NS / 1e9, datetime.UTC)


def make_sync(context: OpenContext, tmp_path: Path) -> AccessSync:
    return AccessSync(context, context.tables, AccessSection(), tmp_path)


def reborn(context: OpenContext) -> OpenContext:
    """The context of a node's next start: other shared memory, the same time."""
    return replace(context, tables=AccessMemory.private(KEYS_MAX))


def states(context: OpenContext, *ids: int) -> list[int]:
    return [int(context.tables.keys.states()[number]) for number in ids]


async def news(sync: AccessSync, connection: AsyncConnection) -> None:
    """Take over what was notified."""
    change = await database.wait_for_change(connection, 5)
    assert change is not None
    await sync.take(connection, change)


async def test_keys_are_unknown_until_they_are_compared(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """Without a snapshot nothing is loaded; after the first comparison everything is."""
    await insert_keys(connection, 3)
    sync = make_sync(context, tmp_path)
    await sync.load_snapshot()
    assert not context.tables.keys.loaded
    await sync.compare(connection)
    assert context.tables.keys.loaded
    assert states(context, 0, 1, 2, 3, 4) == [0, ACTIVE, ACTIVE, ACTIVE, 0]
    assert (gauge(context, "access_keys"), gauge(context, "access_loaded")) == (3, 1)
    assert gauge(context, "access_compared_timestamp_seconds") == WALL_NS / 1e9


async def test_every_kind_of_change_is_taken_over(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """States, plans, new keys, deleted keys and blocks, each by its own notification."""
    await insert_keys(connection, 3)
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    await connection.execute("UPDATE api_keys SET state = 'suspended' WHERE id = 2")
    await news(sync, connection)
    assert states(context, 1, 2, 3) == [ACTIVE, SUSPENDED, ACTIVE]
    await connection.execute("DELETE FROM api_keys WHERE id = 3")
    await news(sync, connection)
    assert states(context, 1, 2, 3) == [ACTIVE, SUSPENDED, REVOKED]
    versions = context.tables.keys.words.copy()
    await connection.execute("UPDATE plans SET rate_requests = 77 WHERE id = 1")
    await news(sync, connection)
    assert (versions != context.tables.keys.words).any()
    await connection.execute("INSERT INTO blocks (network) VALUES ('203.0.113.0/24')")
    await news(sync, connection)
    assert blocked(context, "203.0.113.1")
    await connection.execute("TRUNCATE blocks")
    await news(sync, connection)
    assert not blocked(context, "203.0.113.1")


async def test_a_comparison_repairs_what_was_never_notified(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """A change without a trigger is found all the same."""
    await insert_keys(connection, 2)
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    await connection.execute("ALTER TABLE api_keys DISABLE TRIGGER ALL")
    await connection.execute("UPDATE api_keys SET state = 'revoked' WHERE id = 2")
    await sync.compare(connection)
    assert states(context, 1, 2) == [ACTIVE, REVOKED]


async def test_the_next_start_knows_everything_without_a_database(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """Keys, their plans and the blocks come from the snapshot."""
    await insert_keys(connection, 3)
    await connection.execute("UPDATE api_keys SET state = 'suspended' WHERE id = 2")
    await connection.execute("INSERT INTO blocks (network) VALUES ('203.0.113.0/24')")
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    await sync.save_snapshot_if_dirty()
    later = reborn(context)
    await make_sync(later, tmp_path).load_snapshot()
    assert later.tables.keys.loaded
    assert (later.tables.keys.words == context.tables.keys.words).all()
    assert blocked(later, "203.0.113.1")


@pytest.mark.parametrize("content", [b"", b"nonsense" * 100])
async def test_a_broken_snapshot_is_reported_ignored_and_replaced(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is loaded from it; the first comparison makes a good one."""
    snapshot_path(tmp_path).write_bytes(content)
    sync = make_sync(context, tmp_path)
    await sync.load_snapshot()
    assert not context.tables.keys.loaded
    assert "it is ignored" in caplog.text
    await sync.compare(connection)
    await sync.save_snapshot_if_dirty()
    later = reborn(context)
    await make_sync(later, tmp_path).load_snapshot()
    assert later.tables.keys.loaded


async def test_a_restarted_process_does_not_bring_back_what_the_snapshot_had(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """Shared memory is newer than the snapshot: a key that was revoked since stays revoked while the database is down,
    and the first comparison sets everything right."""
    await insert_keys(connection, 2)
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    await sync.save_snapshot_if_dirty()
    await connection.execute("UPDATE api_keys SET state = 'revoked' WHERE id = 1")
    await sync.take(connection, Change(everything=True))  # killed before the snapshot
    sync = make_sync(context, tmp_path)
    await sync.load_snapshot()
    await sync.tick()
    assert states(context, 1, 2) == [REVOKED, ACTIVE]
    await connection.execute("UPDATE api_keys SET state = 'active' WHERE id = 1")
    await connection.execute("DELETE FROM api_keys WHERE id = 2")
    await sync.compare(connection)
    assert states(context, 1, 2) == [ACTIVE, REVOKED]


async def test_keys_without_room_are_reported(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are loaded; log and metric say that KEYS_MAX is too low."""
    await insert_keys(connection, KEYS_MAX + 3)
    await make_sync(context, tmp_path).compare(connection)
    assert (gauge(context, "access_keys"), gauge(context, "access_keys_beyond_room")) == (KEYS_MAX, 3)
    assert "set KEYS_MAX higher" in caplog.text


async def test_a_disk_that_takes_no_snapshot_is_reported_and_tried_again(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection, caplog: pytest.LogCaptureFixture
) -> None:
    """Shared memory is right all the same."""
    sync = make_sync(context, tmp_path)
    await insert_keys(connection, 1)
    await sync.compare(connection)
    draft = tmp_path / "access.snapshot.new"
    draft.mkdir()
    assert await sync.save_snapshot_if_dirty() > 1
    assert "access snapshot not written" in caplog.text
    draft.rmdir()
    await sync.save_snapshot_if_dirty()
    assert snapshot_path(tmp_path).exists()
    assert states(context, 1) == [ACTIVE]


async def test_without_news_no_snapshot_is_written(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """A comparison that finds nothing new leaves the file alone."""
    sync = make_sync(context, tmp_path)
    await insert_keys(connection, 1)
    await sync.compare(connection)
    await sync.save_snapshot_if_dirty()
    snapshot_path(tmp_path).unlink()
    await sync.compare(connection)
    await sync.save_snapshot_if_dirty()
    assert not snapshot_path(tmp_path).exists()


async def test_a_number_that_another_key_has_now_begins_with_nothing_counted(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection
) -> None:
    """A database that was restored gives numbers again: quota and rate of the former key are not the new one's."""
    await insert_keys(connection, 3)
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    month = 2026 * 12
    for number in (1, 2):
        assert take_lookups(context.tables.limits.words, number, month, 5, 1) == 4
    await connection.execute("UPDATE api_keys SET digest = sha256('another'), state = 'active' WHERE id = 1")
    await connection.execute("UPDATE api_keys SET state = 'suspended' WHERE id = 2")
    await sync.compare(connection)
    assert [quota_used(context.tables.limits, number) for number in (1, 2, 3)] == [(0, 0), (month, 1), (0, 0)]


async def test_changes_do_not_wait_for_a_comparison(
    context: OpenContext,
    tmp_path: Path,
    connection: AsyncConnection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They are taken between its parts; what only a comparison can find is found by the next, at once."""
    monkeypatch.setattr(database, "KEYS_A_CHUNK", 2)
    await insert_keys(connection, 6)
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    read_keys, seen = database.read_keys, []

    async def read_slowly(connection: AsyncConnection, since_us: int | None) -> AsyncIterator[Rows]:
        async for rows in read_keys(connection, since_us):
            yield rows
            if since_us is None and len(seen) < 3:
                seen.append(states(context, 1, 2))
                if len(seen) == 1:
                    async with await database.connect(database_url, Watch(database_url)) as other:
                        await other.execute("UPDATE api_keys SET state = 'suspended' WHERE id = 1")
                        await other.execute("DELETE FROM api_keys WHERE id = 2")

    monkeypatch.setattr(database, "read_keys", read_slowly)
    await sync.compare(connection)
    assert seen[0] == [ACTIVE, ACTIVE]
    assert seen[1][0] == SUSPENDED, "between the first part and the second"
    assert states(context, 1, 2, 6) == [SUSPENDED, REVOKED, ACTIVE]


async def test_snapshots_are_written_one_after_the_other(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends while one is on its way waits for it: both have the same draft, the newest is the last."""
    await insert_keys(connection, 1)
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    running, together = threading.Semaphore(1), []

    def save(path: Path, snapshot: Snapshot) -> None:
        together.append(running.acquire(blocking=False))
        begun.set()
        go_on.wait(10)
        save_really(path, snapshot)
        running.release()

    begun, go_on, save_really = threading.Event(), threading.Event(), sync_module.save
    monkeypatch.setattr(sync_module, "save", save)
    first = asyncio.create_task(sync.save_snapshot_if_dirty())
    await asyncio.to_thread(begun.wait, 10)
    first.cancel()  # the thread goes on
    await asyncio.wait([first])
    await connection.execute("UPDATE api_keys SET state = 'revoked'")
    await sync.take(connection, Change(everything=True))
    last = asyncio.create_task(sync.save_snapshot_if_dirty())
    await asyncio.wait([last], timeout=0.2)  # time enough to meet the other one
    go_on.set()
    await last
    assert together == [True, True]
    found = load(snapshot_path(tmp_path))
    assert found is not None
    assert found.keys["state"].tolist() == [REVOKED]


async def test_a_plan_that_changed_meanwhile_brings_back_nothing_of_an_old_snapshot(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later life knows the new plan before it knows its keys: those of the snapshot are not written with it."""
    await insert_keys(connection, 1)
    sync = make_sync(context, tmp_path)
    await sync.compare(connection)
    await sync.save_snapshot_if_dirty()
    await connection.execute("UPDATE api_keys SET state = 'revoked'")
    await sync.take(connection, Change(everything=True))  # killed before the snapshot
    await connection.execute("UPDATE plans SET rate_requests = 77 WHERE id = 1")
    sync = make_sync(context, tmp_path)
    await sync.load_snapshot()

    async def fail(_connection: AsyncConnection, _since_us: int | None) -> AsyncIterator[Rows]:
        raise OSError
        yield

    monkeypatch.setattr(database, "read_keys", fail)
    with pytest.raises(OSError):
        await sync.compare(connection)
    move(context, -1)
    await sync.tick()
    assert states(context, 1) == [REVOKED]


async def test_no_step_takes_more_keys_at_once_than_the_loop_can_wait_for(
    context: OpenContext, tmp_path: Path, connection: AsyncConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pass over a million keys lets the loop turn after some ten thousand of them: the process beats meanwhile."""
    count = 1_000_000
    rows = np.zeros(count, dtype=KEY_DTYPE)
    rows["id"], rows["plan_id"], rows["state"] = np.arange(1, count + 1), 1, ACTIVE
    rows["digest"][:, :8] = np.arange(count).astype("<u8").view(np.uint8).reshape(-1, 8)
    rows["ends_at_us"] = WALL_NS // 1000 + 60_000_000

    async def read_keys(_connection: AsyncConnection, _since_us: int | None) -> AsyncIterator[Rows]:
        for at in range(0, count, database.KEYS_A_CHUNK):
            yield rows[at : at + database.KEYS_A_CHUNK]
            await asyncio.sleep(0)

    monkeypatch.setattr(database, "read_keys", read_keys)
    context = replace(context, tables=AccessMemory.private(count))
    sync, turns = make_sync(context, tmp_path), [0]

    async def watch() -> None:
        while True:
            await asyncio.sleep(0)
            turns[0] += 1

    async def check(work: Awaitable[object]) -> None:
        turns[0] = 0
        await work
        assert turns[0] >= count // KEYS_AT_ONCE, f"{turns[0]} turns"

    watching = asyncio.create_task(watch())
    await check(sync.compare(connection))
    await check(sync.save_snapshot_if_dirty())
    assert int(np.count_nonzero(context.tables.keys.states() == ACTIVE)) == count
    await connection.execute("UPDATE plans SET rate_requests = 77 WHERE id = 1")
    await check(sync.take(connection, Change(plans=True)))
    later = make_sync(context, tmp_path)
    await check(later.load_snapshot())
    move(context, 61)
    await check(sync.tick())
    assert int(np.count_nonzero(context.tables.keys.states() == REVOKED)) == count
    watching.cancel()
