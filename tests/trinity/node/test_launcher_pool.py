"""The launcher with a pool of real processes: replaced and killed under load, without a lost question."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[3]
ANSWER_SECONDS = 10.0 * PATIENCE
REPLACEMENTS = 4


class TinyPool:
    """A running tiny_pool.py: its ports, and the processes that began, in their order."""

    def __init__(self) -> None:
        self.name = f"pool-{uuid.uuid4().hex[:12]}"
        command = [sys.executable, "-m", "tests.support.tiny_pool", self.name]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.tcp_port, self.udp_port = (int(word) for word in self.line("ports"))

    def line(self, word: str) -> list[str]:
        """The rest of the next line that begins so."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            first, *rest = line.split()
            if first == word:
                return rest
        raise AssertionError(f"it ended: {self.process.communicate()}")


@pytest.fixture
def pool() -> Iterator[TinyPool]:
    made = TinyPool()
    try:
        yield made
    finally:
        with made.process:
            made.process.kill()
        Path(f"/dev/shm/trinity-{made.name}-control").unlink(missing_ok=True)


class Asker(threading.Thread):
    """Asks on and on, each question once, on a new connection or by a datagram."""

    def __init__(self, pool: TinyPool, *, over_tcp: bool) -> None:
        super().__init__(daemon=True)
        self._pool, self._over_tcp = pool, over_tcp
        self.answers = 0
        self.failures: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(ANSWER_SECONDS)
            asker.connect(("127.0.0.1", self._pool.udp_port))
            while not self.ended.wait(0.001):
                try:
                    answer = self._ask() if self._over_tcp else (asker.send(b"question"), asker.recv(100))[1]
                except OSError as error:
                    self.failures.append(repr(error))
                else:
                    self.answers += answer == b"QUESTION"

    def _ask(self) -> bytes:
        with socket.create_connection(("127.0.0.1", self._pool.tcp_port), ANSWER_SECONDS) as connection:
            connection.sendall(b"question")
            return connection.recv(100)


@contextlib.contextmanager
def asked(pool: TinyPool) -> Iterator[list[Asker]]:
    askers = [Asker(pool, over_tcp=over_tcp) for over_tcp in (True, True, False, False)]
    for asker in askers:
        asker.start()
    yield askers
    for asker in askers:
        asker.ended.set()
    for asker in askers:
        asker.join(2 * ANSWER_SECONDS)


def test_a_pool_that_is_replaced_under_load_loses_no_question(pool: TinyPool) -> None:
    """Neither a connection that nobody had accepted nor a datagram that nobody had read."""
    first = {int(pool.line("desk")[0]) for _ in range(2)}
    with asked(pool) as askers:
        for _ in range(REPLACEMENTS):
            pool.process.send_signal(signal.SIGHUP)
            assert pool.line("replaced") == ["2"]
    assert [failure for asker in askers for failure in asker.failures] == []
    assert all(asker.answers for asker in askers)
    assert not any(Path(f"/proc/{pid}").exists() for pid in first)


def test_what_waits_at_a_killed_process_is_answered_by_its_successor(pool: TinyPool) -> None:
    """It was stopped, so that questions wait in its queues; then killed: they are answered, none is reset."""
    desks = [int(pool.line("desk")[0]) for _ in range(2)]
    for pid in desks:
        os.kill(pid, signal.SIGSTOP)
    with asked(pool) as askers:
        for pid in desks:
            os.kill(pid, signal.SIGKILL)
        assert {seat for _, seat in (pool.line("desk") for _ in range(2))} == {"0", "1"}
    assert [failure for asker in askers for failure in asker.failures] == []


def test_a_drain_in_the_midst_of_a_replacement_ends_them_all(pool: TinyPool) -> None:
    """SIGTERM right behind SIGHUP: exit code 0, whoever has begun meanwhile."""
    for _ in range(2):
        pool.line("desk")
    pool.process.send_signal(signal.SIGHUP)
    pool.line("desk")
    pool.process.send_signal(signal.SIGTERM)
    assert pool.process.wait(60) == 0
