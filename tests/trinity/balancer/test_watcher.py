"""trinity/balancer/watcher.py, against health servers of this process."""

import http.server
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.patience import PATIENCE
from trinity.balancer.lists import LOOKUPS, REPORTS, ServicePorts
from trinity.balancer.verdicts import AskingPace
from trinity.balancer.watcher import Watcher, read_standings, read_state
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.errors import BalancerRefusedError

# A well node is asked so rarely that whatever is noticed was noticed by the end of its connection.
PACE = AskingPace(interval_ns=3600 * NS_PER_SECOND, quick_ns=20 * NS_PER_MS, misses_max=3)


class HealthServer:
    """/ready of one node, on a loopback address of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.status = 200
        self.asked = 0
        said, lock = self, threading.Lock()
        self._open: list[socket.socket] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with lock:
                    said.asked += 1
                    said._open.append(self.connection)
                reasons = [] if said.status == 200 else [{"code": "draining"}]
                body = json.dumps({"reasons": reasons}).encode()
                self.send_response(said.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((host, port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def shut_connections(self) -> None:
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.shut_connections()


class Watched:
    """A watcher in a thread, its folder, and two nodes on 127.0.0.1 and 127.0.0.2."""

    def __init__(self, folder: Path) -> None:
        first = HealthServer("127.0.0.1", 0)
        self.servers = {"node-1": first, "node-2": HealthServer("127.0.0.2", first.port)}
        self.folder = folder
        self.applied: list[str] = []
        self.refuses = False
        self._stopped = threading.Event()
        ports = {LOOKUPS: ServicePorts(first.port, 8080, 2679), REPORTS: ServicePorts(first.port, 9090, 2680)}
        nodes = {"node-1": "127.0.0.1", "node-2": "127.0.0.2"}
        log = logging.getLogger("tests.balancer")
        self.watcher = Watcher(nodes, ports, folder, self.apply, PACE, SystemClock(), log)
        self._thread = threading.Thread(target=self.watcher.run, args=(self._stopped.is_set,))
        self._thread.start()

    def apply(self) -> None:
        if self.refuses:
            raise BalancerRefusedError("no")
        self.applied.append((self.folder / "lookups.conf").read_text())

    def wait(self, condition: Callable[[], object]) -> None:
        for _ in range(int(1000 * PATIENCE)):
            if condition():
                return
            threading.Event().wait(0.01)
        pytest.fail(f"never; the state is {read_state(self.folder)}")

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        for server in self.servers.values():
            server.stop()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Both nodes are well, and in."""
    made = Watched(tmp_path)
    try:
        made.wait(lambda: read_standings(tmp_path) == {"node-1": True, "node-2": True})
        yield made
    finally:
        made.stop()


def test_a_node_that_drains_is_left_out_and_taken_back_when_it_is_ready(watched: Watched) -> None:
    """It shuts its connections when its word changes, so that it is asked at once and not in an hour."""
    node = watched.servers["node-2"]
    node.status = 503
    node.shut_connections()
    watched.wait(lambda: "# node-2: draining" in watched.applied[-1])
    assert "server 127.0.0.2:" not in watched.applied[-1]
    watched.wait(lambda: read_standings(watched.folder) == {"node-1": True, "node-2": False})
    node.status = 200
    watched.wait(lambda: "server 127.0.0.2:8080" in watched.applied[-1])
    watched.wait(lambda: read_standings(watched.folder)["node-2"])


def test_a_node_that_is_killed_is_noticed_by_the_end_of_its_connection(watched: Watched) -> None:
    """However rarely it is asked."""
    watched.servers["node-1"].stop()
    watched.wait(lambda: "# node-1: connection refused" in watched.applied[-1])
    watched.wait(lambda: not read_standings(watched.folder)["node-1"])


def test_when_all_nodes_say_no_all_are_asked(watched: Watched) -> None:
    """It fails open."""
    for server in watched.servers.values():
        server.status = 503
        server.shut_connections()
    watched.wait(lambda: not any(read_standings(watched.folder).values()))
    watched.wait(
        lambda: all(f"server 127.0.0.{n}:8080" in (watched.folder / "lookups.conf").read_text() for n in (1, 2))
    )


def test_lists_that_nginx_does_not_take_are_put_back_and_told(watched: Watched) -> None:
    """Who reads the state sees that nginx has another."""
    before = (watched.folder / "lookups.conf").read_text()
    watched.refuses = True
    watched.servers["node-2"].stop()
    watched.wait(lambda: (read_state(watched.folder) or {})["applied"] is False)
    assert (watched.folder / "lookups.conf").read_text() == before
    assert read_standings(watched.folder) == {"node-1": False, "node-2": False}
