"""workers/ledger/disk/syncer.py"""

import threading
import time
from collections.abc import Callable
from typing import cast

import pytest

from tests.workers.ledger.ledger_fixture import LOG
from trinity.clock import SystemClock
from workers.ledger.disk import syncer as module
from workers.ledger.disk.spool import Spool
from workers.ledger.disk.syncer import Syncer
from workers.ledger.usage.usage_tables import USAGE


class Disk:
    """In the place of a spool: a sync does what it is told."""

    kind = USAGE

    def __init__(self) -> None:
        self.sync: Callable[[], None] = lambda: None


def _start(disk: Disk) -> Syncer:
    made = Syncer(cast("Spool", disk), SystemClock(), LOG, turn_seconds=0.005)
    made.start()
    return made


def _until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_a_disk_that_refuses_is_told_once_and_when_it_takes_again(caplog: pytest.LogCaptureFixture) -> None:
    """An error behind a write that succeeded: nobody else sees it."""
    caplog.set_level("WARNING")
    disk = Disk()
    syncer = _start(disk)
    assert syncer.is_synced()

    def refuse() -> None:
        raise OSError(5, "Input/output error")

    disk.sync = refuse
    _until("the refusal", lambda: not syncer.is_synced())
    for _ in range(20):
        assert not syncer.is_synced()
    disk.sync = lambda: None
    _until("the end of it", syncer.is_synced)
    _until("its line", lambda: syncer.is_synced() and len(caplog.records) == 2)
    assert [record.message for record in caplog.records] == [
        "the disk does not confirm the usage spool",
        "the disk confirms the usage spool again",
    ]
    syncer.raise_failure()


def test_a_sync_that_hangs_is_seen(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The thread waits for the disk and cannot say so itself."""
    monkeypatch.setattr(module, "_LATE_NS", 50_000_000)
    disk, released = Disk(), threading.Event()
    disk.sync = lambda: (released.wait(30), None)[1]
    syncer = _start(disk)
    _until("the hang", lambda: not syncer.is_synced())
    assert caplog.records[-1].message == "the disk does not confirm the usage spool"
    released.set()
    disk.sync = lambda: None
    _until("the end of it", syncer.is_synced)


def test_a_thread_that_ends_ends_the_process() -> None:
    """A fault of ours comes out in the process's loop, as the loader's does."""
    disk = Disk()

    def bug() -> None:
        raise ZeroDivisionError("a bug")

    disk.sync = bug
    syncer = _start(disk)
    syncer.join(20)
    assert not syncer.is_alive()
    with pytest.raises(ZeroDivisionError, match="a bug"):
        syncer.raise_failure()
