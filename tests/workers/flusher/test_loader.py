"""workers/flusher/loader.py"""

import threading
from pathlib import Path

import psycopg
import pytest

from tests.workers.flusher.ledger_fixture import LOG, NODE, fill, make_block, make_records, make_ring, totals
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.memory.candle_table import CandleTable
from trinity.metrics import FLUSHER
from trinity.store.connect import connect
from workers.flusher import loader as module
from workers.flusher.loader import Loader
from workers.flusher.spool import Spool

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
        self.spool = Spool(folder / "spool", 1 << 30)
        self.block = make_block()
        candles = CandleTable(folder / "candles")
        self.loader = Loader(url, NODE, "n", self.spool, candles, self.block, SystemClock(), LOG)
        self.url = url

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
    """Refused connections are said once; the schema is made when the database is there."""
    setup = Setup(tmp_path, empty_database_url.replace("host=", "host=%2Fnowhere"))
    setup.put(20)
    setup.loader.start()
    _until("the refusal", lambda: bool(caplog.records))
    assert not setup.loader.is_up()
    setup.loader._url = empty_database_url
    _until("the batch", lambda: setup.spool.records == 0)
    setup.loader.finish(30)
    messages = [record.message for record in caplog.records if record.name == LOG.name]
    assert messages == [
        "the database does not take the ledger, the spool does",
        "the database takes the ledger",
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


def test_while_processors_are_taken_it_rests_and_the_jobs_go_on(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a file that took long the next one waits until somebody has room; candles are not put off."""
    setup = Setup(tmp_path, database_url)
    busy = True
    monkeypatch.setattr(setup.loader._processors, "idle_share", lambda _now_ns: 0.0 if busy else 1.0)
    monkeypatch.setattr(module.Pace, "loaded", lambda pace, _records, _took_ns, now_ns: setattr(
        pace, "_rest_until_ns", now_ns + 600 * NS_PER_SECOND
    ))  # fmt: skip
    jobs = []
    monkeypatch.setattr(module.Jobs, "run_due", lambda _jobs: jobs.append(1))
    setup.put(10)
    setup.loader.start()
    _until("the first file", lambda: setup.spool.records == 0)
    setup.put(10)
    seen = len(jobs)
    _until("some turns of jobs", lambda: len(jobs) > seen + 3)
    assert setup.spool.records == 10
    busy = False
    _until("the second file", lambda: setup.spool.records == 0)
    setup.loader.finish(30)


def test_a_fault_of_ours_ends_the_process(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not tried again for ever: the process's loop raises it and the supervisor starts a new one."""
    setup = Setup(tmp_path, database_url)

    def broken() -> None:
        raise AssertionError("a fault")

    monkeypatch.setattr(setup.spool, "take", broken)
    setup.loader.start()
    setup.loader.join(30)
    with pytest.raises(AssertionError, match="a fault"):
        setup.loader.raise_failure()
