"""deploy/nginx.conf in Debian's nginx, in front of three nodes that are small servers of this process."""

import contextlib
import datetime
import http.client
import http.server
import json
import os
import random
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.parts.cluster.steady_clients import Tally, http_asker, udp_asker
from tests.support.patience import PATIENCE
from trinity.balancer.watcher import read_standings
from trinity.node.cluster.files import prepare_files
from trinity.node.cluster.layout import TLS_PORT, ClusterLayout, parse_network
from trinity.node.cluster.programs import find_programs, nginx_command

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
pytestmark = [
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
    pytest.mark.skipif(not (shutil.which("valkey-server") or shutil.which("redis-server")), reason="no valkey-server"),
]
QUESTION, JUNK = b"BTC", b"junk"


class SmallNode:
    """Says on 8080 and 9090 where it was asked, with `status`; `ready` on its health ports; echoes all but junk."""

    def __init__(self, host: str) -> None:
        self.host, self.status, self.ready = host, 200, 200
        self._servers: list[http.server.ThreadingHTTPServer] = []
        self._datagrams: socket.socket | None = None
        self.start()

    def start(self) -> None:
        node = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = json.dumps({"port": self.server.server_address[1], "path": self.path}).encode()
                self.send_response(node.ready if self.path == "/ready" else node.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._servers = [
            http.server.ThreadingHTTPServer((self.host, port), Handler) for port in (8080, 9090, 8081, 9091)
        ]
        for server in self._servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind((self.host, 2679))
        threading.Thread(target=self._echo, args=(self._datagrams,), daemon=True).start()

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        if self._datagrams is not None:
            # The thread in recvfrom() would keep the port open; an answer to itself ends it.
            with contextlib.suppress(OSError):
                self._datagrams.shutdown(socket.SHUT_RDWR)
            self._datagrams.close()

    def _echo(self, datagrams: socket.socket) -> None:
        while True:
            try:
                received, client = datagrams.recvfrom(2048)
                if not received:
                    return
                if received != JUNK:
                    datagrams.sendto(json.dumps({"price": 1, "host": self.host}).encode(), client)
            except OSError:
                return


class Front:
    """nginx with the filled file, and its nodes."""

    def __init__(self, folder: Path) -> None:
        network = parse_network(f"127.{random.randrange(20, 250)}.{random.randrange(1, 250)}.0")
        self.layout = ClusterLayout(folder / "cluster", network)
        programs = find_programs()
        prepare_files(self.layout, folder / "compiled", datetime.datetime.now(datetime.UTC), programs.nginx_modules)
        self.nodes = [SmallNode(node.host) for node in self.layout.answering]
        user = " user root;" if os.geteuid() == 0 else ""
        self._nginx = subprocess.Popen([*nginx_command(self.layout, programs), "-g", "daemon off;" + user])
        for _ in range(int(500 * PATIENCE)):
            if self.get(8080, "/price")[0]:
                break
            threading.Event().wait(0.02)

    def get(self, port: int, path: str, accept: str = "*/*") -> tuple[int, str, bytes]:
        """(status, content type, body); 0 when nobody listens. HTTPS on its port, believing the authority alone."""
        host = self.layout.proxy
        if port == TLS_PORT:
            believing = ssl.create_default_context(cafile=str(self.layout.authority))
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(host, port, context=believing)
        else:
            connection = http.client.HTTPConnection(host, port)
        try:
            connection.request("GET", path, headers={"Accept": accept})
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"] or "", answer.read()
        except ConnectionRefusedError:
            return 0, "", b""
        finally:
            connection.close()

    def ask(self, asked: bytes = QUESTION, seconds: float = 2.5) -> bytes:
        """A datagram from a new socket; b"" for none, or an empty one."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(seconds)
            asking.connect((self.layout.proxy, 2679))
            try:
                asking.send(asked)
                return asking.recv(2048)
            except OSError:
                return b""

    def stop(self) -> None:
        self._nginx.terminate()
        self._nginx.wait(30)
        for node in self.nodes:
            node.stop()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """Three nodes that are well."""
    made = Front(tmp_path)
    yield made
    made.stop()


def test_one_https_port_leads_to_lookups_or_reports_by_its_paths(front: Front) -> None:
    """The certificate is the authority's; the reports' own port keeps all paths."""
    for path, port in (("/price", 8080), ("/prices", 8080), ("/assets", 8080), ("/history", 9090), ("/", 9090)):
        status, _, body = front.get(TLS_PORT, f"{path}?asset=BTC")
        assert (status, json.loads(body)["port"]) == (200, port)
    assert json.loads(front.get(9090, "/price?asset=BTC")[2])["port"] == 9090


def test_an_event_source_is_told_to_come_again_where_no_node_answers(front: Front) -> None:
    """A 502 or a 503 would end it for good; others get an error that a program reads."""
    for node in front.nodes:
        node.status = 503
    stream = 200, "text/event-stream", b"retry: 2000\n\n"
    assert front.get(9090, "/stream/prices", "text/event-stream") == stream
    assert front.get(9090, "/stream/prices")[0] == 502
    for node in front.nodes:
        node.stop()
    assert front.get(9090, "/v2/updates/price/stream", "text/event-stream") == stream
    status, kind, body = front.get(8080, "/price")
    assert (status, kind, json.loads(body)["error"]["code"]) == (502, "application/json", "no_node")


def test_a_node_that_is_gone_costs_no_client_with_one_retry_its_answer(front: Front) -> None:
    """Over UDP, however many ask: who meets it makes it known to all."""
    front.nodes[0].stop()
    outcomes: Counter[str] = Counter()

    def keep_asking() -> None:
        for _ in range(100):
            first = front.ask()
            outcomes["first" if first else "second" if front.ask() else "failed"] += 1

    askers = [threading.Thread(target=keep_asking) for _ in range(4)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert outcomes["failed"] == 0
    assert outcomes["first"] + outcomes["second"] == 400


def test_datagrams_that_nodes_leave_unanswered_take_no_node_out_of_service(front: Front) -> None:
    """Each counts as a failure when its session ends; with all nodes failed, all are asked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
        for number in range(60):
            if number % 3 == 0:
                front.ask(JUNK, 0.001)
            junk.sendto(JUNK, (front.layout.proxy, 2679))
    threading.Event().wait(3.5)  # longer than proxy_timeout: now they have failed
    answered = {json.loads(front.ask())["host"] for _ in range(30)}
    assert answered == {node.host for node in front.nodes}


def test_nodes_that_leave_one_after_the_other_are_left_out_and_no_question_is_lost(
    front: Front, tmp_path: Path
) -> None:
    """`trinity balancer watch` has nginx read its lists again while clients ask: each leaves, ends, and comes back."""
    layout, stopping = front.layout, threading.Event()
    nginx = shlex.join((*nginx_command(layout, find_programs()), "-g", "user root;" if os.geteuid() == 0 else ""))
    nodes = [word for node in layout.answering for word in ("--node", f"{node.name}={node.host}")]
    quickly = ("--interval", "0.2", "--quick", "0.1")
    watch = ("balancer", "watch", "--lists", str(layout.lists), "--nginx", nginx, *quickly, *nodes)
    environment = os.environ | {"TRINITY_DATA_DIR": str(tmp_path / "balancer")}
    watcher = subprocess.Popen([sys.executable, "-m", "trinity", *watch], env=environment)
    tallies = {"http": Tally(), "udp": Tally()}
    asking = {"http": http_asker(layout.proxy, "key"), "udp": udp_asker(layout.proxy, "key")}
    failures: list[str] = []

    def keep_asking(kind: str) -> None:
        while not stopping.wait(0.002):
            failures.extend(filter(None, [asking[kind]("BTC", tallies[kind])]))

    def wait_for(standings: dict[str, bool]) -> None:
        for _ in range(int(3000 * PATIENCE)):
            if read_standings(layout.lists) == standings:
                return
            threading.Event().wait(0.01)
        pytest.fail(f"{read_standings(layout.lists)} and never {standings}")

    everybody = {node.name: True for node in layout.answering}
    clients = [threading.Thread(target=keep_asking, args=(kind,)) for kind in tallies]
    try:
        wait_for(everybody)
        for client in clients:
            client.start()
        for place, node in zip(layout.answering, front.nodes, strict=True):
            node.ready = 503
            wait_for(everybody | {place.name: False})
            threading.Event().wait(1.0)  # nginx's new workers have taken over: reloads are told, not waited for
            node.stop()
            node.ready = 200
            node.start()
            wait_for(everybody)
    finally:
        stopping.set()
        for client in clients:
            if client.ident is not None:
                client.join(30)
        watcher.terminate()
        watcher.wait(30)
    assert failures == []
    assert all(tally.answers > 0 for tally in tallies.values())
