"""The disk refuses the usage spool under load: answers go on, health says so, and afterwards the books agree."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.node.books import assert_exact, count_rows, ledger, wait_for_ledger, wait_loaded
from tests.node.customers import Crowd, crowd_of
from tests.node.harness import Node, new_node

pytestmark = pytest.mark.long

# A ring is over three quarters full after some 5 s of the customers' load: then detail is given up.
RING_RECORDS = 1 << 14
# A block's header (32 bytes) and its first record (64) are more than a file may have: each write is cut short.
CUT_SHORT_BYTES = 80
SPOOL_DISK_BYTES = 1 << 20
ANSWERS_MEANWHILE = 5_000


def _start(node: Node) -> None:
    node.start()
    wait_for_ledger(node)


def _limit_files(pid: int, bytes_max: int) -> None:
    """No file of this process grows beyond this (EFBIG); Python ignores the signal that goes with it."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (bytes_max, resource.RLIM_INFINITY))


def _wait_refused(node: Node) -> None:
    """Until health and metric say that the disk refuses the spool."""

    def is_said() -> bool:
        reasons = [reason["code"] for reason in node.health().get("reasons", [])]
        return "ledger_disk_refuses" in reasons and node.metrics("trinity_usage_spool_writable") == [0.0]

    node.wait("the refusal in /health", is_said)


def _wait_taken(node: Node) -> None:
    node.wait("the disk's consent in /health", lambda: ledger(node).get("spool_writable"))
    assert node.metrics("trinity_usage_spool_writable") == [1.0]


def _wait_answers(node: Node, crowd: Crowd) -> None:
    answers = crowd.answers
    node.wait("answers that go on", lambda: crowd.answers > answers + ANSWERS_MEANWHILE)


def _lost(node: Node, what: str) -> int:
    return int(sum(node.metrics("trinity_usage_lost_total", what=what)))


def test_a_disk_that_refuses_costs_nothing_at_first_and_then_detail_only(tmp_path: Path) -> None:
    """The flusher may write no file, not even a part of one: the rings hold what comes. When they are nearly full,
    the oldest rows are given up and counted, their sums are not: answers = sum of usage_minute = rows + lost detail."""
    with new_node(tmp_path / "data", LEDGER_RING_RECORDS=str(RING_RECORDS)) as node:
        _start(node)
        flusher = node.pid("flusher")
        with crowd_of(node) as crowd:
            for bytes_max in (CUT_SHORT_BYTES, 0):
                _limit_files(flusher, bytes_max)
                _wait_refused(node)
                _wait_answers(node, crowd)
                _limit_files(flusher, resource.RLIM_INFINITY)
                _wait_taken(node)
            assert_exact(node, crowd)
        first = crowd.answers
        with crowd_of(node) as crowd:
            _limit_files(flusher, 0)
            node.wait("lost detail", lambda: _lost(node, "detail") > 0, 30)
            _wait_answers(node, crowd)
            _limit_files(flusher, resource.RLIM_INFINITY)
            _wait_taken(node)
        answers = first + crowd.answers
        wait_loaded(node)
        rows, ids, requests = count_rows(node)
        assert requests == answers
        assert rows == ids == answers - _lost(node, "detail")
        assert _lost(node, "record") == 0
        assert node.pid("flusher") == flusher, "it lived through all of it"
        assert node.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A node's data directory whose spool is a file system of its own, of 1 MiB."""
    spool = tmp_path / "data" / "usage" / "spool"
    spool.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SPOOL_DISK_BYTES}", "tmpfs", str(spool)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a full disk: mounting a file system is not allowed here")
    yield tmp_path / "data"
    subprocess.run(["umount", "--lazy", str(spool)], check=True)


def test_a_full_disk_while_the_database_is_away_costs_nothing(small_disk: Path) -> None:
    """PostgreSQL stands still, the spool fills its disk (ENOSPC), the rings hold the rest; then all of it is loaded."""
    with new_node(small_disk) as node:
        _start(node)
        file = node.data_dir / "database" / "cluster" / "postmaster.pid"
        server = psutil.Process(int(file.read_text().split()[0]))
        family = [server, *server.children(recursive=True)]
        with crowd_of(node) as crowd:
            for process in family:
                os.kill(process.pid, signal.SIGSTOP)
            _wait_refused(node)
            assert os.statvfs(small_disk / "usage" / "spool").f_bavail < SPOOL_DISK_BYTES // 4096 // 4
            _wait_answers(node, crowd)
            for process in family:
                os.kill(process.pid, signal.SIGCONT)
            _wait_taken(node)
            assert_exact(node, crowd)
        assert node.stop() == 0
