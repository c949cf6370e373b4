"""The usage ledger of a whole node while its parts are killed: a client counts its answers, SQL counts the rows.

    answers that the client got = rows in usage_log = sum of usage_minute

Nobody else asks the node's lookups here, so the three are equal, not merely ordered; only where the one who answers is
killed itself may rows be more: a record is written before its answer is sent.
"""

import contextlib
import http.client
import os
import random
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from tests.node.harness import Node, new_node
from trinity.store.embedded import embedded_url

SEED = 20261122
KILLS = 50
DRAINED_SECONDS = 60.0


class Customer(threading.Thread):
    """Asks over HTTP and UDP until told to stop, and keeps the request ids of what it was answered."""

    def __init__(self, node: Node) -> None:
        super().__init__(daemon=True)
        self._node = node
        self._stopping = threading.Event()
        self.ids: list[int] = []
        self.datagrams = 0

    def run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(0.5)
            while not self._stopping.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    self._ask_over_one_connection(asker)

    def _ask_over_one_connection(self, asker: socket.socket) -> None:
        paths = ("/price?asset=BTC", "/prices?assets=BTC,ETH", "/price?asset=NONE", "/nowhere")
        connection = http.client.HTTPConnection("127.0.0.1", self._node.ports["TCP_PORT_LPO"], timeout=2)
        with contextlib.closing(connection):
            while not self._stopping.is_set():
                for path in paths:
                    connection.request("GET", path)
                    response = connection.getresponse()
                    response.read()
                    self.ids.append(int(response.headers["X-Request-Id"], 16))
                asker.sendto(b"BTC", ("127.0.0.1", self._node.ports["UDP_PORT_LPO"]))
                with contextlib.suppress(TimeoutError):
                    asker.recv(65536)
                    self.datagrams += 1

    @property
    def answers(self) -> int:
        return len(self.ids) + self.datagrams

    def stop(self) -> int:
        self._stopping.set()
        self.join(10)
        assert not self.is_alive()
        return self.answers


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A running node that nobody has asked anything yet."""
    with new_node(tmp_path / "data") as made:
        made.start()
        _wait_for_the_ledger(made)
        yield made
        if made.process is not None and made.process.poll() is None:
            assert made.stop() == 0


@contextlib.contextmanager
def customer_of(node: Node) -> Iterator[Customer]:
    customer = Customer(node)
    customer.start()
    node.wait("first answers", lambda: customer.answers > 20)
    yield customer
    customer.stop()


def _wait_for_the_ledger(node: Node) -> None:
    node.wait_ready()
    node.wait("the database", lambda: _ledger(node).get("database_up"), 60)


def _ledger(node: Node) -> dict[str, Any]:
    return node.health().get("ledger") or {}


def _pid(node: Node, name: str) -> int:
    """The process's present number, 0 while it is not there."""
    process = node.health().get("processes", {}).get(name, {})
    return int(process.get("pid", 0)) if process.get("alive") else 0


def _kill(pid: int, number: signal.Signals = signal.SIGKILL) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _counts(node: Node) -> tuple[int, int, int]:
    """Rows, different request ids, and the requests of the sums."""
    query = (
        "SELECT (SELECT count(*) FROM usage_log), (SELECT count(DISTINCT (node_id, request_id)) FROM usage_log), "
        "(SELECT coalesce(sum(requests), 0)::bigint FROM usage_minute)"
    )
    try:
        with psycopg.connect(embedded_url(node.data_dir), connect_timeout=5) as connection:
            row = connection.execute(query).fetchone()
    except psycopg.OperationalError:
        return (-1, -1, -1)
    assert row is not None
    return row


def _assert_exact(node: Node, customer: Customer) -> None:
    """The three are equal once everything is loaded, and each answered id is a row."""
    answers = customer.stop()
    node.wait(f"{answers} rows, there are {_counts(node)}", lambda: _counts(node) == (answers,) * 3, DRAINED_SECONDS)
    assert _ids_missing(node, customer) == 0
    ledger = node.wait("the flusher", lambda: _ledger(node))
    assert ledger["lost_detail"] == ledger["lost_records"] == 0


def _ids_missing(node: Node, customer: Customer) -> int:
    with psycopg.connect(embedded_url(node.data_dir)) as connection:
        row = connection.execute(
            "SELECT count(*) FROM unnest(%s::bigint[]) AS id WHERE id NOT IN (SELECT request_id FROM usage_log)",
            [customer.ids],
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_fifty_deaths_of_the_flusher_lose_nothing_and_count_nothing_twice(node: Node) -> None:
    """Killed at random moments of its work, it always goes on where it stopped."""
    chance = random.Random(SEED)
    with customer_of(node) as customer:
        killed: set[int] = set()
        for _ in range(KILLS):
            pid = node.wait("another flusher", lambda: ({_pid(node, "flusher")} - killed - {0} or {0}).pop(), 30)
            threading.Event().wait(chance.random() * 0.5)
            _kill(pid)
            killed.add(pid)
        assert len(killed) == KILLS
        _assert_exact(node, customer)


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_answers_go_on_without_the_database_and_are_all_there_afterwards(node: Node, how: str) -> None:
    """PostgreSQL dies with SIGKILL, or stands still for ten seconds: the spool holds what comes meanwhile.

    A longer stop changes nothing but the spool's size, whose bound has tests of its own.
    """
    with customer_of(node) as customer:
        server = psutil.Process(int((node.data_dir / "database/cluster/postmaster.pid").read_text().split()[0]))
        family = [server, *server.children(recursive=True)]
        before = customer.answers
        for process in family:
            _kill(process.pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        if how == "stopped":
            threading.Event().wait(10)
            assert customer.answers > before, "nobody waits for the database"
            for process in family:
                _kill(process.pid, signal.SIGCONT)
        else:
            node.wait("more answers", lambda: customer.answers > before + 100)
        node.wait("the database", lambda: _ledger(node).get("database_up"), 60)
        _assert_exact(node, customer)


def test_a_node_that_was_killed_as_a_whole_loads_what_it_had_answered(node: Node) -> None:
    """SIGKILL for every process at once; the next start finds the records in the rings and the spool."""
    with customer_of(node) as customer:
        assert node.process is not None
        family = [psutil.Process(node.process.pid), *psutil.Process(node.process.pid).children(recursive=True)]
        for process in family:
            _kill(process.pid)
        node.process.wait(15)
        customer.stop()
    node.start()
    _wait_for_the_ledger(node)
    node.wait("all answered ids", lambda: _counts(node)[0] >= 0 and _ids_missing(node, customer) == 0, DRAINED_SECONDS)
    node.wait("nothing more to load", lambda: _ledger(node).get("lag_records") == 0)
    rows, ids, requests = _counts(node)
    assert rows == ids == requests >= customer.answers


def test_a_worker_killed_under_load_leaves_a_row_for_each_of_its_answers(node: Node) -> None:
    """Rows are at least the answers, and no request id stands twice."""
    with customer_of(node) as customer:
        for _ in range(3):
            pid = node.wait("the worker", lambda: _pid(node, "worker-0"), 30)
            before = customer.answers
            _kill(pid)
            node.wait("more answers", lambda: customer.answers > before + 50, 30)  # noqa: B023
        answers = customer.stop()
        node.wait("all answered ids", lambda: _counts(node)[0] >= answers, DRAINED_SECONDS)
        node.wait("nothing more to load", lambda: _ledger(node).get("lag_records") == 0)
    rows, ids, requests = _counts(node)
    assert rows == ids == requests >= answers
    assert _ids_missing(node, customer) == 0


def test_two_nodes_load_into_one_database_at_once(node: Node, tmp_path: Path) -> None:
    """Their rows stand side by side, each answer once."""
    url = embedded_url(node.data_dir)
    with new_node(tmp_path / "second", DATABASE_URL=url) as second:
        second.start()
        _wait_for_the_ledger(second)
        with customer_of(node) as one, customer_of(second) as other:
            node.wait("many answers", lambda: min(one.answers, other.answers) > 2000, 60)
            answers = one.stop() + other.stop()
        node.wait(f"{answers} rows", lambda: _counts(node) == (answers,) * 3, DRAINED_SECONDS)
        assert second.stop() == 0
