"""trinity/store/watch.py: against a real server whose processes are stopped."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.database import DatabaseServer
from tests.trinity.store.frozen import frozen, running_server
from trinity.errors import StoreSilentError, StoreUnavailableError
from trinity.store import migrate
from trinity.store.connect import CONNECT_SECONDS, connect
from trinity.store.watch import SILENCE_SECONDS, Watch, watched

# Beside the promised time, what a machine of two busy processors may take.
GRACE_SECONDS = 40.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    with running_server(tmp_path_factory.mktemp("frozen")) as started:
        yield started


@pytest.fixture
def watch(server: DatabaseServer) -> Iterator[Watch]:
    made = Watch(server.url())
    made.start()
    yield made
    made.stop()


def _until(what: Callable[[], bool], seconds: float) -> float:
    """How long it took until it was so."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds, "it never was"
        threading.Event().wait(0.02)
    return time.monotonic() - began


def test_a_connection_to_a_frozen_server_says_so(server: DatabaseServer) -> None:
    """Two seconds, and another word than for a server that is not there."""
    with frozen(server.server.pid):
        began = time.monotonic()
        with pytest.raises(StoreSilentError, match="does not answer"):
            connect(server.url(), "tests")
        assert time.monotonic() - began < CONNECT_SECONDS + GRACE_SECONDS
    with pytest.raises(StoreUnavailableError) as raised:
        connect("postgresql:///none?host=/nonexistent", "tests")
    assert not isinstance(raised.value, StoreSilentError)


def test_who_waits_is_cut_off(server: DatabaseServer, watch: Watch) -> None:
    """A statement that would wait forever ends within the promised time, and the server's return is seen."""
    with connect(server.url(), "tests", statement_seconds=0, autocommit=True) as connection:
        watch.guard(connection)
        assert connection.execute("SELECT 1").fetchone() == (1,)
        with frozen(server.server.pid):
            began = time.monotonic()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
            assert time.monotonic() - began < SILENCE_SECONDS + GRACE_SECONDS
            assert not watch.is_up
    _until(lambda: watch.is_up, SILENCE_SECONDS + GRACE_SECONDS)


async def test_a_task_that_waits_is_cut_off(server: DatabaseServer, watch: Watch) -> None:
    """The same in an event loop, which goes on meanwhile."""
    turns = 0
    async with await psycopg.AsyncConnection.connect(server.url(), autocommit=True) as connection:
        watch.guard(connection)
        with frozen(server.server.pid):
            waiting = asyncio.ensure_future(connection.execute("SELECT 1"))
            async with asyncio.timeout(SILENCE_SECONDS + GRACE_SECONDS):
                while not waiting.done():
                    turns += 1
                    await asyncio.sleep(0.01)
            assert isinstance(waiting.exception(), psycopg.OperationalError)
    assert turns > 10


def test_a_slow_statement_is_not_cut_off(server: DatabaseServer, watch: Watch) -> None:
    """While the server answers others, one question may take longer than the silence that is allowed."""
    with connect(server.url(), "tests", statement_seconds=0, autocommit=True) as connection:
        watch.guard(connection)
        connection.execute("SELECT pg_sleep(%s)", [SILENCE_SECONDS + 0.5])
        assert watch.is_up


def test_a_server_that_is_not_there_is_down_at_once(tmp_path: Path) -> None:
    """Nobody needs to be cut off, and is_up says what there is."""
    watch = Watch(f"postgresql:///none?host={tmp_path}")
    watch.start()
    try:
        _until(lambda: not watch.is_up, GRACE_SECONDS)
    finally:
        watch.stop()


def test_a_command_and_a_migration_say_that_nobody_answers(server: DatabaseServer) -> None:
    """Frozen in the middle of it or before: a StoreSilentError within the promised time, never a hang."""
    migrate.ensure(server.url())
    with connect(server.url(), "tests", autocommit=True) as connection, frozen(server.server.pid):
        for act in (lambda: migrate.ensure(server.url()), lambda: _ask(server.url(), connection)):
            began = time.monotonic()
            with pytest.raises(StoreSilentError):
                act()
            assert time.monotonic() - began < SILENCE_SECONDS + GRACE_SECONDS


def _ask(url: str, connection: psycopg.Connection[tuple[object, ...]]) -> None:
    with watched(url, connection):
        connection.execute("SELECT 1")
