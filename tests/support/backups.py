"""Backups for the tests: a database server of a test's own, a target in a folder, and what a backup of it takes."""

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

import pyrage

from tests.support.database import TEST_SETTINGS, DatabaseServer
from tests.support.patience import PATIENCE
from trinity.backup.base import Origin, ServerFacts, read_facts, take_base
from trinity.backup.catalog import Base, read_catalog
from trinity.backup.restore import RestoredCluster, restore_into
from trinity.backup.target import BackupTarget, DirectoryTarget, recognise
from trinity.backup.wal import LogStream, ensure_slot, slot_of
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.store.connect import AnyConnection, connect

LOG = logging.getLogger("tests.support.backups")
CLOCK = SystemClock()
_ARRIVE_SECONDS = 20 * PATIENCE
IDENTITY = pyrage.x25519.Identity.generate()


def wait_for(holds: Callable[[], bool], seconds: float = _ARRIVE_SECONDS) -> None:
    """Until it holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def drop_slot(connection: AnyConnection, facts: ServerFacts) -> None:
    """As docs/backup.md has it for who backs up no more."""
    connection.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active",
        [slot_of(facts)],
    )


_numbers = itertools.count()


class BackedUp:
    """A database of its own on a running server, or on one of its own, and its backups; `connection` is autocommit."""

    def __init__(self, folder: Path, server: DatabaseServer | None = None, target: BackupTarget | None = None) -> None:
        self.folder, self._owns_server = folder, server is None
        self.server = server or DatabaseServer(folder / "node")
        self.scratch = folder / "scratch"
        self.place = folder / "target"
        self.scratch.mkdir()
        self.place.mkdir()
        self.target: BackupTarget = target or DirectoryTarget(self.place)
        self._database = f"backed_up_{next(_numbers)}"

    def __enter__(self) -> Self:
        if self._owns_server:
            self.server.data_dir.mkdir()
            self.server.start()
        self._execute(f"CREATE DATABASE {self._database} TEMPLATE template0")
        self.url = self.server.url(self._database)
        self.connection: AnyConnection = connect(self.url, "tests", autocommit=True)
        self.connection.execute("CREATE TABLE notes (id bigserial PRIMARY KEY, text text NOT NULL)")
        self.facts: ServerFacts = read_facts(self.connection)
        recognise(self.target, None)
        self.stream = self.begin_stream()
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()
        if self._owns_server:
            self.connection.close()
            self.server.stop()
            return
        drop_slot(self.connection, self.facts)
        self.connection.close()
        self._execute(f"DROP DATABASE {self._database} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        with connect(self.server.url(), "tests", autocommit=True) as connection:
            connection.execute(statement)

    def begin_stream(self, moment: int = 0) -> LogStream:
        lsn, _ = ensure_slot(self.connection, self.facts)
        recipients = [IDENTITY.to_public()]
        return LogStream(self.url, self.facts, lsn, self.scratch, self.target, recipients, moment)

    def base(self, parent: Base | None = None, target: BackupTarget | None = None) -> Base:
        """A base backup, under a label of its own."""
        origin = Origin(self.url, True, self.scratch, [IDENTITY.to_public()])
        self.pass_a_second()
        return take_base(origin, target or self.target, self.connection, self.facts, now(), parent)

    def write(self, *texts: str) -> None:
        for text in texts:
            self.connection.execute("INSERT INTO notes (text) VALUES (%s)", [text])

    def ship(self) -> int:
        """Until a moment after this call is in the target: that moment."""
        after = now()

        def arrived() -> bool:
            self.stream.turn(self.connection)
            return self.stream.moment > after

        wait_for(arrived)
        return self.stream.moment

    def pass_a_second(self) -> int:
        """Moments are whole seconds: what follows is of a later one. The second that has passed."""
        begun = now()
        wait_for(lambda: now() > begun)
        return begun + 1

    def restore(self, name: str, to_time: int | None = None) -> RestoredCluster:
        catalog = read_catalog(self.target)
        return restore_into(
            self.folder / name, self.target, catalog, to_time, [IDENTITY], CLOCK, LOG, settings=TEST_SETTINGS
        )


def now() -> int:
    """Seconds since 1970."""
    return CLOCK.wall_ns() // NS_PER_SECOND


@contextlib.contextmanager
def running(restored: RestoredCluster) -> Iterator[AnyConnection]:
    """A connection to a restored database, which runs that long."""
    server = DatabaseServer(restored.data_dir)
    server.start()
    try:
        with connect(restored.url, "tests", autocommit=True) as connection:
            yield connection
    finally:
        server.stop()


def notes_in(restored: RestoredCluster) -> Sequence[str]:
    """The rows of the tests' table, in their order."""
    with running(restored) as connection:
        return [row[0] for row in connection.execute("SELECT text FROM notes ORDER BY id").fetchall()]
