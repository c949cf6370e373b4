"""The usage ledger of a whole node while its parts are killed under load: what customers counted is what SQL counts."""

import contextlib
import os
import random
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg
import pytest

from tests.node.books import (
    LOADED_SECONDS,
    assert_bounded,
    assert_exact,
    assert_nothing_lost,
    count_rows,
    is_loaded,
    spool_files,
    wait_for_ledger,
    wait_loaded,
)
from tests.node.customers import crowd_of
from tests.node.harness import Node, new_node
from trinity.store.embedded import embedded_url

pytestmark = pytest.mark.long

SEED = 20261122
KILLS = 50
# A flusher needs some 0.4 s to its first transaction: half of them die before it, some after several.
LIFE_SECONDS, LIFE_SECONDS_MAX = 0.5, 3.0
WORKER_KILLS = 6


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A running node that nobody has asked anything yet."""
    with new_node(tmp_path / "data") as made:
        made.start()
        wait_for_ledger(made)
        yield made
        if made.process is not None and made.process.poll() is None:
            assert made.stop() == 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _wait_next(node: Node, name: str, killed: set[int]) -> int:
    """The process that came after those."""
    return int(node.wait(f"the next {name}", lambda: ({node.pid(name)} - killed - {0} or {0}).pop(), 30))


def _connections(pid: int) -> int:
    """Of customers, to a worker."""
    try:
        return sum(found.status == psutil.CONN_ESTABLISHED for found in psutil.Process(pid).net_connections("tcp"))
    except psutil.NoSuchProcess:
        return 0


def test_fifty_deaths_of_the_flusher_lose_nothing_and_count_nothing_twice(node: Node) -> None:
    """Killed at random moments of its work, with several files waiting for it, it always goes on where it stopped."""
    chance = random.Random(SEED)
    killed: set[int] = set()
    files = []
    with crowd_of(node) as crowd:
        for _ in range(KILLS):
            pid = _wait_next(node, "flusher", killed)
            threading.Event().wait(min(chance.expovariate(1 / LIFE_SECONDS), LIFE_SECONDS_MAX))
            files.append(len(spool_files(node)))
            _kill(pid)
            killed.add(pid)
        assert len(killed) == KILLS
        assert max(files) > 1, "a closed file was waiting beside the open one"
        assert min(files) <= 1, "and were loaded in between"
        assert_exact(node, crowd)


def test_a_node_that_was_killed_as_a_whole_loads_what_it_had_answered(node: Node) -> None:
    """SIGKILL for every process at once; the next start finds the records in the rings and the spool."""
    with crowd_of(node) as crowd:
        node.wait("many answers", lambda: crowd.answers > 5_000)
        node.kill_all()
        crowd.stop()
        assert crowd.broken > 0
    assert not is_loaded(node), "there was something to find"
    node.start()
    wait_for_ledger(node)
    assert_bounded(node, crowd)


def test_a_worker_killed_under_load_leaves_a_row_for_each_of_its_answers(node: Node) -> None:
    """Both in turn, each with customers of its own: rows are at least the answers, and no request id stands twice."""
    killed: set[int] = set()
    with crowd_of(node) as crowd:
        for turn in range(WORKER_KILLS):
            pid = _wait_next(node, f"worker-{turn % 2}", killed)
            node.wait("the worker's customers", lambda: _connections(pid))  # noqa: B023
            broken, answers = crowd.broken, crowd.answers
            _kill(pid)
            killed.add(pid)
            node.wait("a broken connection", lambda: crowd.broken > broken)  # noqa: B023
            node.wait("more answers", lambda: crowd.answers > answers + 1_000, 30)  # noqa: B023
    assert crowd.unanswered > 0, "answers were lost on their way"
    assert_bounded(node, crowd)


def test_two_nodes_load_into_one_database_at_once(node: Node, tmp_path: Path) -> None:
    """Their rows and sums stand side by side, each answer once and under its own node; none of them lost any."""
    with new_node(tmp_path / "second", DATABASE_URL=embedded_url(node.data_dir)) as second:
        second.start()
        wait_for_ledger(second)
        with crowd_of(node) as one, crowd_of(second) as other:
            node.wait("many answers", lambda: min(one.answers, other.answers) > 10_000, LOADED_SECONDS)
        for each in (node, second):
            wait_loaded(each)
            assert_nothing_lost(each)
        assert one.unanswered == other.unanswered == 0
        answers = one.answers + other.answers
        assert count_rows(node) == (answers, answers, answers)
        books = _books_of_nodes(node)
        for each, crowd in ((node, one), (second, other)):
            book = books[each.environment["CLUSTER_NODE"]]
            assert book.rows + book.sampled == book.requests == crowd.answers
            assert book.ids <= set(crowd.ids), "no row of an answer that this node did not give"
            assert len(crowd.ids) - len(book.ids) == book.sampled, "refusals alone have no row"
        assert second.stop() == 0


class Book(NamedTuple):
    """What the database has of one node; `ids` are the request ids of its rows over HTTP."""

    rows: int
    sampled: int
    requests: int
    ids: set[int]


def _books_of_nodes(node: Node) -> dict[str, Book]:
    query = (
        "SELECT name, (SELECT count(*) FROM usage_log WHERE node_id = id), "
        "(SELECT coalesce(sum(sampled), 0)::bigint FROM usage_batches WHERE node_id = id), "
        "(SELECT coalesce(sum(requests), 0)::bigint FROM usage_minute WHERE node_id = id), "
        "ARRAY(SELECT request_id FROM usage_log WHERE node_id = id AND protocol = 0) FROM nodes"
    )
    with psycopg.connect(embedded_url(node.data_dir)) as connection:
        return {name: Book(*counts, set(ids)) for name, *counts, ids in connection.execute(query)}
