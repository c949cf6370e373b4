"""The life of the process `database`, with a real server: it starts, answers, is told to stop, or dies."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from trinity.clock import SystemClock
from trinity.errors import StoreUnavailableError
from trinity.node import database
from trinity.observe.metrics import DATABASE
from trinity.store.embedded import embedded_url

UP = DATABASE.index("database_up")
START_SECONDS = 120.0


class Block:
    """The process's block, and what is done to the node once the gauge says that the server is there."""

    def __init__(self, data_dir: Path, when_up: Any = None) -> None:
        self.gauges: list[float] = []
        self.beats = 0
        self._data_dir = data_dir
        self._when_up = when_up

    def beat(self, _now_ns: int) -> None:
        self.beats += 1

    def set_gauge(self, word: int, value: float) -> None:
        assert word == UP
        self.gauges.append(value)
        if value == 1.0 and self._when_up is not None:
            act, self._when_up = self._when_up, None
            act(self._data_dir)


def seat(block: Block) -> Any:
    return SimpleNamespace(block=block, clock=SystemClock(), log=logging.getLogger("tests.support.database"))


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cluster for all tests, made by the first."""
    return tmp_path_factory.mktemp("node")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The process takes SIGTERM and SIGINT for itself; pytest wants them back. Nothing runs forever."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    late = threading.Timer(START_SECONDS, os.kill, (os.getpid(), signal.SIGTERM))
    late.start()
    yield
    late.cancel()
    for number, handler in kept.items():
        signal.signal(number, handler)


def _terminate(_data_dir: Path) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def _kill_server(data_dir: Path) -> None:
    server_pid = int((data_dir / "database" / "cluster" / "postmaster.pid").read_text().split()[0])
    os.kill(server_pid, signal.SIGKILL)


def test_it_beats_says_when_the_server_is_there_and_ends_when_it_is_told_to(data_dir: Path) -> None:
    """SIGTERM is an order and no failure; the gauge is 0 before and after, and nobody answers any more."""
    block = Block(data_dir, _terminate)
    database.run(seat(block), data_dir)
    assert block.gauges[0] == block.gauges[-1] == 0.0
    assert 1.0 in block.gauges
    assert block.beats > 2
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(embedded_url(data_dir))


def test_a_server_that_ends_by_itself_ends_the_process_with_its_last_words(data_dir: Path) -> None:
    """So the supervisor starts both again, and says why."""
    block = Block(data_dir, _kill_server)
    with pytest.raises(StoreUnavailableError, match=r"PostgreSQL ended \(-9\)"):
        database.run(seat(block), data_dir)
    assert block.gauges[-1] == 0.0


def test_an_order_that_comes_before_the_server_is_there_is_obeyed(tmp_path: Path) -> None:
    """While the cluster is being made the process still listens, and leaves no server behind."""
    block = Block(tmp_path)
    stop = threading.Timer(0.2, _terminate, (tmp_path,))
    stop.start()
    database.run(seat(block), tmp_path)
    stop.cancel()
    assert 1.0 not in block.gauges
    assert not list((tmp_path / "database").glob(".s.PGSQL*"))
