"""A real PostgreSQL for the tests: one server a test process, a fresh migrated database for each test that asks.

The server is the embedded one, started by the same code; it ends with the test process, however that ends.
"""

import itertools
import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from trinity.store import migrate
from trinity.store.connect import connect
from trinity.store.embedded import NAME, Server, embedded_url
from trinity.store.settings import server_settings

# The data of a test need not survive a power cut. It may be backed up.
TEST_SETTINGS = dict(server_settings(backed_up=True)) | {
    "fsync": "off",
    "full_page_writes": "off",
    "shared_buffers": "32MB",
}
START_SECONDS = 120.0
_TEMPLATE = "migrated"
_numbers = itertools.count()


class DatabaseServer:
    """A running server and the addresses of its databases."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.server = Server(data_dir, logging.getLogger("tests.support.database"), TEST_SETTINGS)
        self._url = embedded_url(data_dir)

    def url(self, database: str = NAME) -> str:
        return self._url.replace(f"///{NAME}?", f"///{database}?")

    def start(self) -> None:
        """Start and wait until it answers."""
        wait = threading.Event().wait
        self.server.start(lambda: wait(0.02) and None)
        deadline = time.monotonic() + START_SECONDS
        while not self.server.answers():
            assert self.server.exit_code() is None, self.server.failure_message()
            assert time.monotonic() < deadline, f"PostgreSQL did not start: {self.server.failure_message()}"
            self.server.pass_on_log(10)

    def stop(self) -> None:
        self.server.shut_down()
        while self.server.exit_code() is None:
            self.server.pass_on_log(20)


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """One server for all tests of this process."""
    started = DatabaseServer(tmp_path_factory.mktemp("postgresql"))
    started.start()
    with connect(started.url(), "tests", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_TEMPLATE}")
    migrate.ensure(started.url(_TEMPLATE))
    yield started
    started.stop()


@pytest.fixture
def empty_database_url(database_server: DatabaseServer) -> Iterator[str]:
    """A database without tables, of one test's own."""
    yield from _database(database_server, "template0")


@pytest.fixture
def database_url(database_server: DatabaseServer) -> Iterator[str]:
    """A migrated database of one test's own."""
    yield from _database(database_server, _TEMPLATE)


def _database(started: DatabaseServer, template: str) -> Iterator[str]:
    name = f"t_{next(_numbers)}"
    _execute(started, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield started.url(name)
    _execute(started, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(started: DatabaseServer, statement: str) -> None:
    """On a connection to no test's database; what the server said last is a part of a failure."""
    started.server.pass_on_log(0)
    try:
        with psycopg.connect(started.url(), autocommit=True) as connection:
            connection.execute(statement)
    except psycopg.OperationalError as error:
        started.server.pass_on_log(1000)
        raise AssertionError(
            f"{error}; exit code {started.server.exit_code()}: {started.server.failure_message()}"
        ) from None
