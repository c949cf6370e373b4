"""A running node whose workers and reporters are replaced, and whose configuration is changed, under load."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.node.books import Counts, count_rows, wait_for_ledger, wait_loaded
from tests.node.harness import Node, new_node
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.long

ANSWER_SECONDS = 10.0 * PATIENCE
ROUNDS = 3


class Caller(threading.Thread):
    """Asks one thing after the other, each once: what is not answered has failed."""

    def __init__(self, node: Node, kind: str) -> None:
        super().__init__(daemon=True)
        self._node, self._kind = node, kind
        self.answered = 0
        self.failures: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        ask = {"kept": self._ask_kept, "new": self._ask_new, "udp": self._ask_udp, "reports": self._ask_reports}
        for answered in ask[self._kind]():
            if answered:
                self.failures.append(answered)
            else:
                self.answered += 1
            if self.ended.wait(0.003):
                return

    def _ask_new(self) -> Iterator[str]:
        """A connection for each request."""
        while True:
            yield self._http(self._open("TCP_PORT_LPO"), "/price?asset=BTC", then_close=True)

    def _ask_kept(self) -> Iterator[str]:
        """One connection for as long as the server keeps it: http.client opens another one after `close`."""
        connection = self._open("TCP_PORT_LPO")
        while True:
            yield self._http(connection, "/price?asset=BTC")

    def _ask_reports(self) -> Iterator[str]:
        connection = self._open("TCP_PORT_LRS")
        while True:
            yield self._http(connection, "/api/v3/coins/list")

    def _ask_udp(self) -> Iterator[str]:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
            asker.settimeout(ANSWER_SECONDS)
            asker.connect(("127.0.0.1", self._node.ports["UDP_PORT_LPO"]))
            while True:
                try:
                    asker.send(b"BTC")
                    yield "" if "price" in json.loads(asker.recv(65536)) else "no price"
                except OSError as error:
                    yield repr(error)

    def _open(self, port_name: str) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._node.ports[port_name], timeout=ANSWER_SECONDS)

    def _http(self, connection: http.client.HTTPConnection, path: str, *, then_close: bool = False) -> str:
        try:
            connection.request("GET", path, headers={"Connection": "close"} if then_close else {})
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return f"{path}: {error!r}"
        return "" if response.status == 200 else f"{path}: {response.status}"


@contextlib.contextmanager
def callers_of(node: Node) -> Iterator[list[Caller]]:
    callers = [Caller(node, kind) for kind in ("kept", "kept", "new", "new", "udp", "udp", "reports")]
    for caller in callers:
        caller.start()
    try:
        yield callers
    finally:
        for caller in callers:
            caller.ended.set()
        for caller in callers:
            caller.join(2 * ANSWER_SECONDS)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """A running node that nobody has asked anything yet; its configuration is a file that a test writes."""
    config = tmp_path / "trinity.toml"
    config.write_text("[access]\nfree_rate = 0\n")
    with new_node(tmp_path / "data", BEYOND_CATALOG="false") as made:
        made.start("demo", "--config", str(config))
        wait_for_ledger(made)
        made.wait_reports_ready()
        yield made
        if made.process is not None and made.process.poll() is None:
            assert made.stop() == 0


def reload(node: Node, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trinity", "reload", "--json", *arguments]
    return subprocess.run(command, env=node.environment, capture_output=True, text=True, timeout=400, check=False)


def _all_beyond(callers: list[Caller], answered: list[int]) -> Callable[[], bool]:
    return lambda: all(caller.answered > before + 20 for caller, before in zip(callers, answered, strict=True))


def test_workers_and_reporters_are_replaced_without_one_failed_request(node: Node) -> None:
    """Over kept and new connections and over UDP; each answer is a row; every process is another one afterwards."""
    assert count_rows(node) == Counts(0, 0, 0), "nobody asked anything"
    before = {name: node.pid(name) for name in ("worker-0", "worker-1", "reporter-0")}
    with callers_of(node) as callers:
        node.wait("answers for all", lambda: all(caller.answered > 20 for caller in callers), 30)
        for _ in range(ROUNDS):
            answered = [caller.answered for caller in callers]
            outcome = reload(node, "--workers")
            assert outcome.returncode == 0, outcome.stderr
            assert len(json.loads(outcome.stdout)["replaced"]) == 3
            node.wait("more answers", _all_beyond(callers, answered), 30)
    assert [failure for caller in callers for failure in caller.failures] == []
    assert not set(before.values()) & {entry["pid"] for entry in node.health()["processes"].values() if entry["alive"]}
    wait_loaded(node)
    lookups = sum(caller.answered for caller in callers if caller._kind != "reports")
    assert count_rows(node) == Counts(lookups, lookups, lookups)


def test_a_worker_that_is_killed_leaves_its_queue_to_its_successor(node: Node) -> None:
    """A connection that it had not accepted yet is answered by the next one: its listener never closed."""
    pid = node.pid("worker-0")
    os.kill(pid, signal.SIGSTOP)
    waiting = [Caller(node, "new") for _ in range(8)]
    for caller in waiting:
        caller.start()
    os.kill(pid, signal.SIGKILL)
    node.wait("answers for all", lambda: all(caller.answered > 5 for caller in waiting), 30)
    for caller in waiting:
        caller.ended.set()
    assert all(len(caller.failures) <= 1 for caller in waiting), "at most what it held already"


def test_a_reload_applies_what_it_can_and_says_what_waits(node: Node, tmp_path: Path) -> None:
    """A rate is in force, a port waits; a wrong file changes nothing, and SIGHUP is the same as the command."""
    config = tmp_path / "trinity.toml"
    config.write_text("[access]\nfree_rate = 0\nanonymous_rate = 1\n[reports]\nprocesses = 2\n")
    outcome = reload(node)
    assert outcome.returncode == 0, outcome.stderr
    said = json.loads(outcome.stdout)
    assert (said["replacing"], said["waiting"]) == (["access.anonymous_rate"], ["reports.processes"])
    node.wait("the new rate", lambda: 429 in {node.price()[0] for _ in range(10)}, 10)
    config.write_text("[access]\nfree_rates = 0\n")
    outcome = reload(node)
    assert outcome.returncode == 2
    assert "access.free_rates" in json.loads(outcome.stderr)["error"]["message"]
    config.write_text("[access]\nfree_rate = 0\n")
    assert node.process is not None
    node.process.send_signal(signal.SIGHUP)
    node.wait("the old rate", lambda: {node.price()[0] for _ in range(10)} == {200}, 60)


def test_without_a_node_a_reload_says_so(tmp_path: Path) -> None:
    """Exit code 1: what is looked for is not there."""
    with new_node(tmp_path / "data") as absent:
        outcome = reload(absent)
    assert outcome.returncode == 1
    assert "NodeAbsentError" in outcome.stderr
