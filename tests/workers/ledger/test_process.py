"""workers/ledger/process.py: the whole process, forked as the node forks it, with a test in a worker's place."""

import contextlib
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.contexts import open_context
from tests.workers.ledger.ledger_fixture import (
    LOG,
    NODE,
    fill,
    make_block,
    make_ledger,
    make_records,
    make_ring,
    totals,
)
from tests.workers.ledger.test_loader import _until
from trinity.config import LedgerSection, NodeSection
from trinity.markets import load_catalog
from trinity.memory.control import HEARTBEAT_NS, ProcessBlock
from trinity.memory.usage_ring import UsageRing
from trinity.observe.metrics import FLUSHER
from trinity.store.connect import connect
from workers.ledger.disk.spool import Spool
from workers.ledger.process import run, take_over
from workers.ledger.usage.usage_tables import USAGE

SUM_TABLES = ("usage_minute", "usage_hour", "usage_day")


class Flusher:
    """A forked flusher over one ring of a folder."""

    def __init__(self, folder: Path, url: str) -> None:
        self.ring = make_ring(folder / "usage")
        self._undo = contextlib.ExitStack()
        self._context = self._undo.enter_context(open_context("flusher", "flusher", load_catalog()))
        self.block = self._context.block
        self.folder, self._url = folder, url
        self.pid = 0

    def start(self) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            try:
                run(self._context, (self.ring,), LedgerSection(), NodeSection(data_dir=self.folder), NODE, self._url)
            finally:
                os._exit(0)

    def kill(self, number: signal.Signals) -> int:
        os.kill(self.pid, number)
        return os.waitpid(self.pid, 0)[1]

    def counter(self, name: str) -> int:
        return self.block.read_counter(FLUSHER.index(name))

    def close(self) -> None:
        self._undo.close()


@pytest.fixture
def flusher(tmp_path: Path, database_url: str) -> Iterator[Flusher]:
    made = Flusher(tmp_path, database_url)
    yield made
    made.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_records_reach_the_database_and_the_gauges_say_so(flusher: Flusher, database_url: str) -> None:
    """From the ring to the rows; SIGTERM takes over what is left and ends it."""
    flusher.start()
    fill(flusher.ring, make_records(300))
    _until("the rows", lambda: flusher.counter("usage_rows_loaded_total") == 300)
    _until("its gauge", lambda: flusher.block.read_gauge(FLUSHER.index("usage_database_up")) == 1)
    assert flusher.block.read_gauge(FLUSHER.index("usage_spool_writable")) == 1
    assert flusher.block.read(HEARTBEAT_NS) > 0
    fill(flusher.ring, make_records(200, seed=2))
    assert flusher.kill(signal.SIGTERM) == 0
    assert flusher.ring.released == flusher.ring.written
    flusher.start()
    _until("the rest", lambda: flusher.block.read_gauge(FLUSHER.index("usage_lag_records")) == 0)
    flusher.kill(signal.SIGTERM)
    with connect(database_url, "tests") as connection:
        assert set(totals(connection).values()) == {500}


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fuller_ring_than_400_of_999_raises_the_alarm(flusher: Flusher) -> None:
    """And the high-water mark keeps it when it is over."""
    fill(flusher.ring, make_records(500))
    flusher.start()
    high = FLUSHER.index("usage_ring_share_max")
    _until("the high-water mark", lambda: flusher.block.read_gauge(high) == 500 / 1024)
    _until("the end of the alarm", lambda: flusher.block.read_gauge(FLUSHER.index("usage_alarm")) == 0)
    flusher.kill(signal.SIGTERM)


@contextlib.contextmanager
def _full_disk() -> Iterator[None]:
    """No file may grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def _take_over(folder: Path, ring: UsageRing, block: ProcessBlock) -> bool:
    return take_over([ring], folder, LedgerSection(), block, LOG)


def test_a_data_directory_from_a_backup_loses_no_new_answer(tmp_path: Path, database_url: str) -> None:
    """Rings and spool older than the database: what the copy held is loaded once, and all that comes after it."""
    ring, block = make_ring(tmp_path / "usage"), make_block()
    fill(ring, make_records(100))
    backup = ring.path.read_bytes()
    fill(ring, make_records(200, seed=2))
    for at_start, new in ((300, 0), (100, 50)):
        assert ring.written - ring.released == at_start
        assert _take_over(tmp_path, ring, block)
        ring.move_on(1000)
        fill(ring, make_records(new, seed=3))
        Spool(USAGE, tmp_path / "usage" / "spool", 1 << 30).close()
        assert _take_over(tmp_path, ring, block)
        spool = Spool(USAGE, tmp_path / "usage" / "spool", 1 << 30)
        with connect(database_url, "tests", autocommit=True) as connection:
            ledger = make_ledger(connection)
            while (unit := spool.take()) is not None:
                assert ledger.load(unit).missing == 0
                spool.remove(unit)
        ring.path.write_bytes(backup)
        ring = UsageRing.open(ring.path, 0, 1024, 1000)
    with connect(database_url, "tests") as connection:
        assert set(totals(connection).values()) == {350}


def test_rings_that_cannot_be_emptied_are_not_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No spool at all: their records keep their positions, and nobody may go on; empty ones may."""
    ring, block = make_ring(tmp_path / "usage"), make_block()
    (tmp_path / "usage" / "spool").write_text("a file in the folder's place")
    assert _take_over(tmp_path, ring, block)
    fill(ring, make_records(100))
    assert not _take_over(tmp_path, ring, block)
    assert ring.written - ring.released == 100
    assert {record.message for record in caplog.records} == {"the usage spool cannot be opened"}


def test_after_a_crash_onto_a_full_disk_no_position_comes_twice(tmp_path: Path, database_url: str) -> None:
    """The ring's file is older than what was answered, and the disk full: its rest becomes sums, new ids are new."""
    ring, folder = make_ring(tmp_path / "usage"), tmp_path / "usage" / "spool"
    assert _take_over(tmp_path, ring, make_block())
    fill(ring, make_records(100))
    older = ring.path.read_bytes()
    fill(ring, make_records(200, seed=2))
    used = ring.written
    ring.path.write_bytes(older)
    ring = UsageRing.open(ring.path, 0, 1024, 1000)
    with _full_disk():
        assert _take_over(tmp_path, ring, make_block())
        assert ring.released == ring.written < used
        ring.move_on(1000)
    assert ring.written > used
    fill(ring, make_records(50, seed=3))
    assert _take_over(tmp_path, ring, make_block())
    spool = Spool(USAGE, folder, 1 << 30)
    with connect(database_url, "tests", autocommit=True) as connection:
        ledger = make_ledger(connection)
        while (unit := spool.take()) is not None:
            assert ledger.load(unit).missing == 0
            spool.remove(unit)
        assert totals(connection) == {"rows": 50, "ids": 50} | dict.fromkeys(SUM_TABLES, 150)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_spool_that_cannot_be_opened_is_asked_again(flusher: Flusher) -> None:
    """The flusher lives, the alarm stands; when the folder is there, everything is loaded."""
    spool = flusher.folder / "usage" / "spool"
    spool.write_text("a file in the folder's place")
    fill(flusher.ring, make_records(100))
    flusher.start()
    _until("the alarm", lambda: flusher.block.read_gauge(FLUSHER.index("usage_alarm")) == 1)
    spool.unlink()
    _until("the records", lambda: flusher.ring.released == flusher.ring.written)
    assert flusher.kill(signal.SIGTERM) == 0


def test_damaged_files_of_the_spool_are_said_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And do not keep anybody from starting."""
    ring = make_ring(tmp_path / "usage")
    (tmp_path / "usage" / "spool").mkdir()
    (tmp_path / "usage" / "spool" / "000000000001.sum").write_bytes(b"not sums")
    assert _take_over(tmp_path, ring, make_block())
    assert [record.message for record in caplog.records] == ["a file of the usage spool is damaged and was set aside"]
