"""trinity/store/session_thread.py"""

import threading

import pytest

from trinity.clock import SystemClock
from trinity.store import session_thread
from trinity.store.session_thread import SessionThread

NOWHERE = "postgresql:///none?host=/nonexistent"


class Worker(SessionThread):
    """Each connection ends at once; the third is a fault, when it is told so."""

    def __init__(self, fault: BaseException | None = None) -> None:
        super().__init__("worker", NOWHERE, SystemClock())
        self._fault = fault
        self.lives = 0
        self.third = threading.Event()

    def _live_one_connection(self) -> None:
        self.lives += 1
        if self.lives == 3:
            self.third.set()
            if self._fault is not None:
                raise self._fault


def test_one_connection_comes_after_the_other_until_it_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It tries again by itself, and ends when it is finished."""
    monkeypatch.setattr(session_thread, "RETRY_FLOOR_SECONDS", 0.01)
    worker = Worker()
    worker.start()
    assert worker.third.wait(30)
    worker.finish(30)
    assert not worker.is_alive()


def test_a_fault_ends_the_thread_and_is_raised_in_the_process_s_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody finds a thread that has ended silently."""
    monkeypatch.setattr(session_thread, "RETRY_FLOOR_SECONDS", 0.01)
    worker = Worker(ZeroDivisionError("ours"))
    worker.raise_failure()
    worker.start()
    worker.join(30)
    assert worker.lives == 3
    with pytest.raises(ZeroDivisionError, match="ours"):
        worker.raise_failure()
    with pytest.raises(ZeroDivisionError, match="ours"):
        worker.finish(1)


def test_a_connection_that_worked_clears_the_back_off() -> None:
    """Without it each failure makes the next wait longer; with it the next is the first again."""
    worker = Worker()
    for _ in range(5):
        worker._backoff.on_failure(0)
    assert worker._backoff.failures == 5
    worker._on_good()
    assert worker._backoff.failures == 0
