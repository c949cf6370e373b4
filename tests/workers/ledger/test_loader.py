"""workers/ledger/loader.py"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from tests.trinity.store.frozen import frozen, running_server
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
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.observe.metrics import FLUSHER
from trinity.store import migrate, session_thread
from trinity.store.connect import connect
from trinity.store.watch import SILENCE_SECONDS
from workers.ledger import loader as module
from workers.ledger.disk.spool import Spool
from workers.ledger.disk.unit import Unit
from workers.ledger.ledger import Loaded
from workers.ledger.loader import Loader
from workers.ledger.sums import Span, Sums
from workers.ledger.usage.usage_sums import sum_records
from workers.ledger.usage.usage_tables import USAGE

WAIT = threading.Event().wait


def _until(what: str, is_so: object) -> None:
    assert callable(is_so)
    for _ in range(1500):
        if is_so():
            return
        WAIT(0.02)
    pytest.fail(f"never: {what}")


class Setup:
    """A ring, a spool and a loader for a database."""

    def __init__(self, folder: Path, url: str) -> None:
        self.ring = make_ring(folder)
        self.spool = Spool(USAGE, folder / "spool", 1 << 30)
        self.block = make_block()
        self.loader = Loader(url, USAGE, NODE, "n", [self.ring], self.spool, self.block, SystemClock(), LOG)
        self.url = url
        self.idle_share = 0.0

    def put(self, count: int) -> None:
        fill(self.ring, make_records(count))
        self.spool.append(self.ring, self.ring.view(self.ring.released))


def test_the_spool_is_loaded_and_emptied(tmp_path: Path, database_url: str) -> None:
    """What is there at the start, what comes later, and at the end what is left; metrics count it."""
    setup = Setup(tmp_path, database_url)
    setup.put(100)
    setup.loader.start()
    _until("the first batch", lambda: setup.spool.records == 0)
    setup.put(50)
    _until("the second batch", lambda: setup.spool.records == 0)
    assert setup.loader.is_up()
    setup.put(30)
    setup.loader.finish(30)
    assert not setup.loader.is_alive()
    assert setup.spool.records == 0
    assert setup.block.read_counter(FLUSHER.index("usage_rows_loaded_total")) == 180
    assert setup.block.read_counter(FLUSHER.index("usage_batches_total")) >= 3
    with connect(database_url, "tests") as connection:
        assert set(totals(connection).values()) == {180}


def test_without_a_database_it_waits_and_goes_on_when_there_is_one(
    tmp_path: Path, empty_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused connections and missing tables are said once each, and no fault at the start; the operator makes them."""
    caplog.set_level("INFO", LOG.name)
    setup = Setup(tmp_path, empty_database_url.replace("host=", "host=%2Fnowhere"))
    setup.put(20)
    setup.loader.start()
    _until("the refusal", lambda: bool(caplog.records))
    assert not setup.loader.is_up()
    setup.loader._url = empty_database_url
    _until("the missing tables", lambda: len(caplog.records) == 2)
    assert setup.spool.records == 20
    migrate.ensure(empty_database_url)
    _until("the batch", lambda: setup.spool.records == 0)
    setup.loader.finish(30)
    messages = [(record.levelname, record.message) for record in caplog.records if record.name == LOG.name]
    assert messages == [
        ("INFO", "the database does not take the ledger, the spool does"),
        ("INFO", "the database does not take the ledger, the spool does"),
        ("INFO", "the database takes the ledger"),
    ]


def test_a_connection_that_is_cut_costs_nothing(tmp_path: Path, database_url: str) -> None:
    """Every backend terminated again and again while it loads: each record once."""
    setup = Setup(tmp_path, database_url)
    setup.loader.start()
    with connect(database_url, "killer", autocommit=True) as connection:
        for _ in range(15):
            setup.put(60)
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trinity flusher'"
            )
            WAIT(0.03)
        _until("the rest", lambda: setup.spool.records == 0)
        setup.loader.finish(30)
        assert set(totals(connection).values()) == {900}


def test_a_database_that_stands_still_is_noticed(tmp_path: Path, database_url: str) -> None:
    """A lock that somebody holds: the loader waits, and says so; afterwards it goes on."""
    setup = Setup(tmp_path, database_url)
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE usage_batches")
        module._SLOW_NS, before = 0, module._SLOW_NS
        setup.put(10)
        setup.loader.start()
        _until("the wait", lambda: setup.loader.is_connected and not setup.loader.is_up())
        module._SLOW_NS = before
        holder.rollback()
    _until("the batch", lambda: setup.spool.records == 0)
    setup.loader.finish(30)


@pytest.fixture
def resting(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Setup]:
    """A loader that rests for ten minutes after its first file."""
    setup = Setup(tmp_path, database_url)
    monkeypatch.setattr(module.Pace, "loaded", lambda pace, _took_ns, now_ns: setattr(
        pace, "_rest_until_ns", now_ns + 600 * NS_PER_SECOND
    ))  # fmt: skip
    setup.put(10)
    setup.loader.start()
    _until("the first file", lambda: setup.spool.records == 0)
    yield setup
    setup.loader.finish(30)


def test_it_rests_until_a_segment_is_full(resting: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a file that took long the next one may fill; then it is loaded at once."""
    turns = []
    monkeypatch.setattr(resting.loader._missing, "tell", lambda _now_ns, *, is_last: turns.append(is_last))
    resting.put(10)
    _until("some turns", lambda: len(turns) > 3)
    assert resting.spool.records == 10
    resting.spool.close()
    _until("the second file", lambda: resting.spool.records == 0)


def test_while_the_disk_refuses_it_does_not_rest(resting: Setup) -> None:
    """The rings fill meanwhile, and only what is loaded makes room."""
    resting.put(10)
    resting.spool.is_writable = False
    _until("the second file", lambda: resting.spool.records == 0)


def _messages(caplog: pytest.LogCaptureFixture, level: str = "CRITICAL") -> list[str]:
    return [record.message for record in caplog.records if record.name == LOG.name and record.levelname == level]


def test_a_node_whose_ledger_another_one_has_loads_nothing_and_says_so_once(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As with a copied data directory; it goes on by itself when the other has gone."""
    monkeypatch.setattr(session_thread, "RETRY_FLOOR_SECONDS", 0.02)
    monkeypatch.setattr(module, "_TAKEN_NS", 1)
    setup = Setup(tmp_path, database_url)
    setup.put(10)
    tries: list[int] = []
    check = module.migrate.check
    monkeypatch.setattr(module.migrate, "check", lambda url: (tries.append(1), check(url)))
    with connect(database_url, "other", autocommit=True) as other:
        make_ledger(other)
        setup.loader.start()
        _until("some tries", lambda: len(tries) > 4)
        assert setup.spool.records == 10
        assert not setup.loader.is_up()
    _until("the batch", lambda: setup.spool.records == 0)
    setup.loader.finish(30)
    assert _messages(caplog) == ["nothing is loaded: another node has this one's ledger"]


def test_a_file_that_can_never_be_loaded_blocks_nobody(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Damaged sums at once; rows that the database refuses, when it has said so for a while: both stay on the disk."""
    monkeypatch.setattr(session_thread, "RETRY_FLOOR_SECONDS", 0.02)
    monkeypatch.setattr(module, "_NEVER_NS", NS_PER_SECOND // 5)
    setup = Setup(tmp_path, database_url)
    sums = Sums((Span(9, 10, 20),), sum_records(make_records(10)))
    setup.spool.append_sums(sums, lambda: None)
    damaged = setup.spool._units[0].path
    damaged.write_bytes(damaged.read_bytes()[:-1])
    setup.put(30)
    setup.spool.append_sums(sums, lambda: None)
    load = module.Ledger.load

    def refuse(ledger: module.Ledger, unit: Unit) -> Loaded:
        if unit.sequence == 2:
            ledger._connection.execute("SELECT 'x'::integer")
        return load(ledger, unit)

    monkeypatch.setattr(module.Ledger, "load", refuse)
    setup.loader.start()
    _until("an empty spool", lambda: setup.spool.records == 0)
    setup.put(5)
    _until("the next file", lambda: setup.spool.records == 0)
    setup.loader.finish(30)
    assert _messages(caplog) == ["a file of the usage spool cannot be loaded and was set aside"] * 2
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == [
        "000000000001.sum.bad",
        "000000000002.seg.bad",
    ]
    assert setup.block.read_counter(FLUSHER.index("usage_lost_total", "record")) == 40
    with connect(database_url, "tests") as connection:
        assert totals(connection)["rows"] == 5


def test_a_ring_that_is_older_than_the_database_is_said(
    tmp_path: Path, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It was not moved on at the start: its next records will be skipped, and are counted before."""
    setup = Setup(tmp_path, database_url)
    setup.put(30)
    with connect(database_url, "before", autocommit=True) as connection:
        ledger = make_ledger(connection)
        unit = setup.spool.take()
        assert unit is not None
        ledger.load(unit)
        setup.spool.remove(unit)
    setup.ring.words[4:6] -= np.uint64(12)
    setup.loader.start()
    _until("the words", lambda: bool(_messages(caplog)))
    setup.loader.finish(30)
    assert setup.block.read_counter(FLUSHER.index("usage_lost_total", "record")) == 12


def test_a_load_that_hangs_is_noticed(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is not up while anything waits for it for long."""
    setup, hang = Setup(tmp_path, database_url), threading.Event()
    load = module.Ledger.load
    monkeypatch.setattr(module.Ledger, "load", lambda ledger, unit: (hang.wait(30), load(ledger, unit))[1])
    monkeypatch.setattr(module, "_SLOW_NS", 0)
    setup.put(10)
    setup.loader.start()
    _until("the load", lambda: setup.loader._busy_since_ns is not None and setup.loader.is_connected)
    assert not setup.loader.is_up()
    hang.set()
    setup.loader.finish(30)


def test_a_fault_of_ours_ends_the_process(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried again forever: the process's loop raises it and the supervisor starts a new one."""
    setup = Setup(tmp_path, database_url)

    def broken() -> None:
        raise AssertionError("a fault")

    monkeypatch.setattr(setup.spool, "take", broken)
    setup.loader.start()
    setup.loader.join(30)
    with pytest.raises(AssertionError, match="a fault"):
        setup.loader.raise_failure()


def test_a_database_that_freezes_is_given_up_and_nothing_is_lost_or_doubled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped in the middle of a transaction: known within seconds, the session abandoned, each record once."""
    with running_server(tmp_path / "data") as server:
        migrate.ensure(server.url())
        setup = Setup(tmp_path, server.url())
        setup.loader.start()
        for _ in range(2):
            with psycopg.connect(server.url()) as holder:
                holder.execute("LOCK TABLE usage_batches IN ACCESS EXCLUSIVE MODE")  # the load waits in its transaction
                setup.put(100)
                _until("the load", lambda: setup.spool.records == 100 and setup.loader._busy_since_ns is not None)
                with frozen(server.server.pid):
                    began = time.monotonic()
                    _until("the silence", lambda: not setup.loader.is_up())
                    _until("the session's end", lambda: not setup.loader.is_connected)
                    assert time.monotonic() - began < SILENCE_SECONDS + 6
                holder.rollback()
            _until("the rest", lambda: setup.spool.records == 0 and setup.loader.is_up())
        setup.loader.finish(30)
        with connect(server.url(), "tests") as connection:
            assert set(totals(connection).values()) == {200}
