"""workers/backup/service.py, on a real server"""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backups import CLOCK, IDENTITY, LOG, drop_slot, notes_in, now, wait_for
from tests.support.contexts import OpenContext, open_context
from tests.support.database import TEST_SETTINGS
from trinity.backup.base import read_facts
from trinity.backup.catalog import BackupCatalog, read_catalog
from trinity.backup.restore import restore_into
from trinity.backup.target import DirectoryTarget, read_bytes
from trinity.config import BackupSection, Config, NodeSection, StoresSection
from trinity.errors import BackupError
from trinity.markets import load_catalog
from trinity.observe.metrics import BACKUP
from trinity.store.connect import AnyConnection, connect
from workers.backup.process import BackupView, place_of
from workers.backup.service import BackupService

NODE = uuid.uuid4()


class Backing:
    """A server, a node's folder, and the service that backs both up; `restart` is what a kill leaves."""

    def __init__(self, folder: Path, context: OpenContext, url: str) -> None:
        self.folder, self.context, self.url = folder, context, url
        self.place = folder / "target"
        self.target = DirectoryTarget(self.place)
        for path in (folder / "node", self.place):
            path.mkdir()
        (folder / "node" / "node-uuid").write_text(str(NODE))
        recipients = (str(IDENTITY.to_public()),)
        self.config = Config(
            node=NodeSection(data_dir=folder / "node"),
            backup=BackupSection(target=str(self.place), recipients=recipients, ship_seconds=1, bundle_seconds=5),
            stores=StoresSection(database_url=url),
        )

    def start(self) -> None:
        self.service = BackupService(place_of(self.config, NODE), self.context.block, CLOCK, LOG)
        self.view = BackupView(self.context, self.service, self.config.backup)
        self.service.start()

    def catalog(self) -> BackupCatalog | None:
        try:
            return read_catalog(self.target)
        except BackupError:
            return None

    def newest(self) -> int:
        found = self.catalog()
        window = found.window() if found is not None else None
        return window.newest if window is not None else 0

    def gauge(self, name: str) -> float:
        self.view.show()
        return self.context.block.read_gauge(BACKUP.index(name))

    def failures(self, step: str) -> int:
        return self.context.block.read_counter(BACKUP.index("backup_failures_total", step))


@pytest.fixture
def backing(tmp_path: Path, empty_database_url: str) -> Iterator[Backing]:
    """It runs, and its first base is there."""
    with (
        open_context("backup", "backup", load_catalog()) as context,
        connect(empty_database_url, "tests", autocommit=True) as connection,
    ):
        made = Backing(tmp_path, context, empty_database_url)
        connection.execute("CREATE TABLE notes (id bigserial PRIMARY KEY, text text NOT NULL)")
        made.start()
        try:
            wait_for(lambda: made.newest() > 0)
            yield made
        finally:
            made.service.finish(20)
            drop_slot(connection, read_facts(connection))


def _write(connection: AnyConnection, text: str) -> None:
    connection.execute("INSERT INTO notes (text) VALUES (%s)", [text])


def test_a_database_and_its_node_are_backed_up_by_themselves(backing: Backing) -> None:
    """A base, the log and the node's files arrive; what was committed comes back, to a server of another machine."""
    with connect(backing.url, "tests", autocommit=True) as connection:
        _write(connection, "one")
    after = now()
    wait_for(lambda: backing.newest() > after)
    wait_for(lambda: backing.gauge("backup_last_bundle_age_seconds") >= 0)
    assert backing.gauge("backup_active") == 1.0
    assert backing.gauge("backup_failing") == 0.0
    assert backing.gauge("backup_wal_lag_seconds") < 60
    catalog = read_catalog(backing.target)
    assert catalog.bundle_of(str(NODE), catalog.plan()) is not None
    assert not catalog.bases[0].embedded
    restored = restore_into(
        backing.folder / "new", backing.target, catalog, None, [IDENTITY], CLOCK, LOG, settings=TEST_SETTINGS
    )
    assert notes_in(restored) == ["one"]


def test_a_target_that_is_away_is_told_and_loses_nothing(backing: Backing) -> None:
    """The log waits; when the target is back, there is no gap. An empty folder in its place is not believed."""
    away = backing.place.rename(backing.folder / "away")
    before = backing.failures("log")
    with connect(backing.url, "tests", autocommit=True) as connection:
        _write(connection, "while it was away")
    wait_for(lambda: backing.failures("log") > before)
    backing.place.mkdir()
    before = backing.failures("log")
    wait_for(lambda: backing.failures("log") > before)
    assert list(backing.place.iterdir()) == []
    backing.place.rmdir()
    away.rename(backing.place)
    after = now()
    wait_for(lambda: backing.newest() > after)
    assert len(read_catalog(backing.target).bases) == 1


def test_a_receiver_that_dies_is_replaced_without_a_gap(backing: Backing) -> None:
    """kill -9 of pg_receivewal: the next one begins where the server's slot is."""
    stream = backing.service._stream
    assert stream is not None
    before = backing.failures("log")
    os.kill(stream.pid, signal.SIGKILL)
    wait_for(lambda: backing.failures("log") > before)
    after = now()
    wait_for(lambda: backing.newest() > after)
    assert len(read_catalog(backing.target).bases) == 1


def test_a_second_node_waits_for_the_first(backing: Backing) -> None:
    """The database is backed up by one; when it goes, the other goes on, without a gap."""
    first = backing.service
    config = backing.config
    second_dir = backing.folder / "second"
    second_dir.mkdir()
    backing.config = Config(node=NodeSection(data_dir=second_dir), backup=config.backup, stores=config.stores)
    backing.start()
    wait_for(lambda: backing.service.is_connected)
    assert not backing.service.is_active
    assert backing.gauge("backup_wal_lag_seconds") == 0.0
    first.finish(20)
    wait_for(lambda: backing.service.is_active)
    after = now()
    wait_for(lambda: backing.newest() > after)
    assert len(read_catalog(backing.target).bases) == 1


def test_the_log_is_read_by_nobody_without_the_identity(backing: Backing) -> None:
    """No object but the descriptions has anything in the open."""
    with connect(backing.url, "tests", autocommit=True) as connection:
        _write(connection, "a secret of a customer")
    after = now()
    wait_for(lambda: backing.newest() > after)
    for stored in backing.target.stored(""):
        content = read_bytes(backing.target, stored.name, 10**9)
        assert b"a secret of a customer" not in content
        assert stored.name.endswith(".json") or content.startswith(b"age-encryption.org/v1")


def test_nothing_of_it_outlives_the_process(backing: Backing) -> None:
    """The programs end with the thread that started them."""
    stream = backing.service._stream
    assert stream is not None
    pid = stream.pid
    backing.service.finish(20)
    wait_for(lambda: subprocess.run(["ps", "-p", str(pid)], capture_output=True, check=False).returncode != 0)
