"""workers/access/process.py: the real process, forked, on a real PostgreSQL"""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from tests.support.contexts import OpenContext, open_context
from tests.support.patience import PATIENCE
from tests.trinity.store.frozen import frozen, running_server
from tests.workers.access.conftest import KEYS_MAX, gauge
from trinity.clock import SystemClock
from trinity.config import AccessSection
from trinity.limits import HEARTBEAT_AGE_MAX_NS
from trinity.markets import load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.control import HEARTBEAT_NS
from trinity.memory.key_table import KeyTable
from trinity.store import migrate
from trinity.store.watch import SILENCE_SECONDS
from workers.access import process
from workers.access.rows import ACTIVE, REVOKED, SUSPENDED
from workers.access.sync import AccessSync

NOWHERE = "postgresql:///trinity?host=/nonexistent"
Start = Callable[[str], Any]


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[OpenContext]:
    """A context whose memory is really shared."""
    with open_context("access", "access", load_catalog()) as context:
        tables = AccessMemory.create(context.node, tmp_path, KEYS_MAX, context.clock)
        try:
            yield replace(context, tables=tables)
        finally:
            tables.unlink()


@pytest.fixture
def start(shared: OpenContext, tmp_path: Path) -> Iterator[Start]:
    """Fork the access process; whatever still runs at the end is killed."""
    started: list[Any] = []

    def forked(url: str) -> Any:
        context = multiprocessing.get_context("fork")
        child = context.Process(target=process.run, args=(shared, shared.tables, AccessSection(), tmp_path, url))
        child.start()
        started.append(child)
        return child

    yield forked
    for child in started:
        child.kill()
        child.join()


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connected:
        connected.execute("INSERT INTO accounts (name) VALUES ('acme')")
        yield connected


def wait(what: str, ready: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds * PATIENCE
    while not ready():
        assert time.monotonic() < deadline, f"no {what} within {seconds * PATIENCE} s"
        time.sleep(0.01)


def state(context: OpenContext, number: int) -> int:
    return int(context.tables.keys.states()[number])


def insert_key(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(
        "INSERT INTO api_keys (account_id, plan_id, digest, prefix)"
        " VALUES (1, 1, sha256(gen_random_uuid()::text::bytea), 'trk_') RETURNING id"
    ).fetchone()
    assert row is not None
    return int(row[0])


def set_state(connection: psycopg.Connection[Any], number: int, name: str) -> None:
    connection.execute("UPDATE api_keys SET state = %s WHERE id = %s", [name, number])


def test_changes_arrive_by_notification_and_the_end_is_in_order(
    shared: OpenContext, start: Start, database_url: str, connection: psycopg.Connection[Any], tmp_path: Path
) -> None:
    """A key is known soon after it was made, suspended soon after it was; SIGTERM ends the process with a snapshot."""
    child = start(database_url)
    wait("first comparison", lambda: gauge(shared, "access_database_up") == 1)
    number = insert_key(connection)
    wait("the new key", lambda: state(shared, number) == ACTIVE)
    set_state(connection, number, "suspended")
    wait("the suspension", lambda: state(shared, number) == SUSPENDED)
    os.kill(child.pid, signal.SIGTERM)
    child.join(10)
    assert child.exitcode == 0
    assert (tmp_path / "access.snapshot").stat().st_mode & 0o777 == 0o600


def test_a_lost_connection_is_made_again_and_nothing_is_missed(
    shared: OpenContext, start: Start, database_url: str, connection: psycopg.Connection[Any]
) -> None:
    """A change that falls into the gap is found by the comparison after it."""
    start(database_url)
    wait("first comparison", lambda: gauge(shared, "access_database_up") == 1)
    number = insert_key(connection)
    with connection.transaction():
        connection.execute("ALTER TABLE api_keys DISABLE TRIGGER api_keys_changed")  # heard of by nobody
        set_state(connection, number, "revoked")
        connection.execute("ALTER TABLE api_keys ENABLE TRIGGER api_keys_changed")
    ended = connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'trinity access' AND datname = current_database()"
    ).fetchall()
    assert ended == [(True,)]
    wait("the revocation", lambda: state(shared, number) == REVOKED)


def test_a_database_that_freezes_is_down_within_seconds(shared: OpenContext, start: Start, tmp_path: Path) -> None:
    """Not when the next comparison is due; it is found again when it goes on."""
    with running_server(tmp_path / "data") as server:
        migrate.ensure(server.url())
        start(server.url())
        wait("first comparison", lambda: gauge(shared, "access_database_up") == 1)
        with frozen(server.server.pid):
            began = time.monotonic()
            wait("the silence", lambda: gauge(shared, "access_database_up") == 0)
            assert time.monotonic() - began < SILENCE_SECONDS + 6
        wait("its return", lambda: gauge(shared, "access_database_up") == 1)


def test_a_lost_notification_is_repaired_by_the_comparison(
    shared: OpenContext,
    start: Start,
    database_url: str,
    connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything is compared now and then, whether or not anything was heard."""
    monkeypatch.setattr(process, "COMPARE_SECONDS", 0.5)
    start(database_url)
    number = insert_key(connection)
    wait("the new key", lambda: state(shared, number) == ACTIVE)
    connection.execute("ALTER TABLE api_keys DISABLE TRIGGER api_keys_changed")
    set_state(connection, number, "revoked")
    wait("the revocation", lambda: state(shared, number) == REVOKED)


def test_without_a_database_the_snapshot_holds_and_the_process_beats(
    shared: OpenContext, start: Start, database_url: str, connection: psycopg.Connection[Any]
) -> None:
    """A start without a database knows the keys of the last life; without a snapshot it knows that it knows none."""
    first = start(NOWHERE)
    wait("a beat", lambda: shared.block.read(HEARTBEAT_NS))
    before = shared.block.read(HEARTBEAT_NS)
    wait("the next beat", lambda: shared.block.read(HEARTBEAT_NS) > before)
    assert not shared.tables.keys.loaded
    first.terminate()
    first.join(10)
    number = insert_key(connection)
    second = start(database_url)
    wait("first comparison", lambda: gauge(shared, "access_database_up") == 1)
    second.terminate()
    second.join(10)
    shared.tables.keys.words[:] = KeyTable.private(KEYS_MAX).words  # as a new node has it
    start(NOWHERE)
    wait("the key out of the snapshot", lambda: shared.tables.keys.loaded and state(shared, number) == ACTIVE)
    assert gauge(shared, "access_database_up") == 0


def test_a_killed_process_leaves_the_keys_and_its_successor_goes_on(
    shared: OpenContext, start: Start, database_url: str, connection: psycopg.Connection[Any]
) -> None:
    """SIGKILL loses nothing: what is in shared memory holds, and the next life takes over what was missed."""
    number = insert_key(connection)
    child = start(database_url)
    wait("the key", lambda: state(shared, number) == ACTIVE)
    child.kill()
    child.join()
    set_state(connection, number, "revoked")
    assert state(shared, number) == ACTIVE
    start(database_url)
    wait("the revocation", lambda: state(shared, number) == REVOKED)


def test_a_following_loop_that_hangs_stops_the_beat(
    shared: OpenContext, start: Start, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the other loops go on: the supervisor sees it, and starts another process."""

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(process, "wait_for_change", hang)
    start(database_url)
    wait("first comparison", lambda: gauge(shared, "access_database_up") == 1)
    wait("an old beat", lambda: time.monotonic_ns() - shared.block.read(HEARTBEAT_NS) > 2e9)


def test_an_ending_loop_that_hangs_stops_the_beat(
    shared: OpenContext, start: Start, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys that end would go on to be let in."""

    async def hang(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(AccessSync, "tick", hang)
    start(database_url)
    wait("first comparison", lambda: gauge(shared, "access_database_up") == 1)
    wait("an old beat", lambda: time.monotonic_ns() - shared.block.read(HEARTBEAT_NS) > 2e9)


async def test_what_makes_no_step_is_given_up_and_what_does_is_waited_for(shared: OpenContext) -> None:
    """A long comparison beats while it gets on; one that stands still is a database that is away."""
    progress = process._Progress(shared.block, SystemClock())

    async def walk() -> str:
        for _ in range(20):
            await asyncio.sleep(0.05)
            progress.step()
        return "arrived"

    assert await progress.during(walk(), 0.5) == "arrived"
    with pytest.raises(TimeoutError, match="no progress"):
        await progress.during(asyncio.Event().wait(), 0.3)
    progress.ended()
    assert time.monotonic_ns() - shared.block.read(HEARTBEAT_NS) < 2e9


def test_a_beat_is_far_more_often_than_the_supervisor_expects() -> None:
    """Twenty of them fit into the age at which a process is taken for stuck."""
    assert process.BEAT_SECONDS * 20 * 1e9 < HEARTBEAT_AGE_MAX_NS


async def test_an_end_that_is_known_is_not_put_off_until_the_next_beat(
    shared: OpenContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With beats a minute apart it comes when it comes."""

    class DoneError(Exception):
        pass

    class SoonEndingSync:
        ticks = 0

        async def tick(self) -> None:
            self.ticks += 1
            if self.ticks == 3:
                raise DoneError

        def seconds_until_end(self) -> float:
            return 0.001

    monkeypatch.setattr(process, "BEAT_SECONDS", 60.0)
    async with asyncio.timeout(60):
        with pytest.raises(DoneError):
            await process._end(
                shared,
                shared.tables.limits,
                cast("AccessSync", SoonEndingSync()),
                process._Progress(shared.block, SystemClock()),
            )
