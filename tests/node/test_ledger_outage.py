"""PostgreSQL away under load: the spool holds what comes meanwhile, health says so, and nothing is lost or doubled."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.node.books import assert_exact, ledger, spool_files, wait_for_ledger
from tests.node.customers import Crowd, crowd_of
from tests.node.harness import Node, new_node

pytestmark = pytest.mark.long

STOPPED_SECONDS = 60.0
# From what moment on the node must have noticed: a file takes seconds to load, so it waits for ten.
NOTICED_SECONDS = 15.0
# Answers between two looks; some 5,000 come in a second.
ANSWERS_A_LOOK = 2_000
# A spool of 64 MiB has segments of 8 MiB, 131,072 records: in a minute several queue.
SPOOL_BYTES_MAX = 1 << 26


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A running node that nobody has asked anything yet."""
    with new_node(tmp_path / "data", LEDGER_SPOOL_BYTES_MAX=str(SPOOL_BYTES_MAX)) as made:
        made.start()
        wait_for_ledger(made)
        yield made
        assert made.stop() == 0


def _server(node: Node) -> list[psutil.Process]:
    """PostgreSQL with all its processes, its first one in front."""
    file = node.data_dir / "database" / "cluster" / "postmaster.pid"
    first = psutil.Process(int(file.read_text().split()[0]))
    return [first, *first.children(recursive=True)]


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        if process.is_running():
            os.kill(process.pid, number)


def _is_said_to_be_down(node: Node) -> bool:
    """By the ledger in /health with its reason, and by the metrics of flusher and database."""
    health = node.health()
    reasons = [reason["code"] for reason in health.get("reasons", [])]
    return (
        "ledger_database_down" in reasons
        and not ledger(node).get("database_up", True)
        and node.metrics("trinity_usage_database_up") == [0.0]
        and node.metrics("trinity_database_up") == [0.0]
    )


def _stand_still(node: Node, crowd: Crowd) -> None:
    """A minute without the database, in the middle of it without the flusher as well; answers never pause."""
    began = time.monotonic()
    node.wait("health that says so", lambda: _is_said_to_be_down(node), NOTICED_SECONDS)
    flusher = node.pid("flusher")
    os.kill(flusher, signal.SIGKILL)
    node.wait("the next flusher", lambda: node.pid("flusher") not in (0, flusher))
    while time.monotonic() < began + STOPPED_SECONDS:
        answers = crowd.answers
        node.wait("answers that go on", lambda: crowd.answers > answers + ANSWERS_A_LOOK)  # noqa: B023
        assert node.get("/ready", "HEALTH_PORT_LPO")[0] == 200
        assert _is_said_to_be_down(node)
    assert len(spool_files(node)) > 2


def test_a_minute_without_postgresql_and_its_violent_end_cost_nothing(node: Node) -> None:
    """It stands still for 60 s (SIGSTOP) and goes on; then it is killed (SIGKILL) and started anew by the node."""
    with crowd_of(node) as crowd:
        server = _server(node)
        _send(server, signal.SIGSTOP)
        _stand_still(node, crowd)
        _send(server, signal.SIGCONT)
        node.wait("the database", lambda: ledger(node).get("database_up"), 60)
        node.wait_database()
        files = spool_files(node)
        node.wait("the first files to be loaded", lambda: files[0] not in spool_files(node), 60)
        server, answers = _server(node), crowd.answers
        _send(server, signal.SIGKILL)
        node.wait("answers that go on", lambda: crowd.answers > answers + ANSWERS_A_LOOK)
        node.wait("another server", lambda: not server[0].is_running() and ledger(node).get("database_up"), 60)
        assert_exact(node, crowd)
