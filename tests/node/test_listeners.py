"""Every listener of a node that is bound to all addresses of both families: who reaches it, and who cannot close it."""

import contextlib
import json
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.harness import Node, new_node
from trinity.client import Client, Via

# Of the simulator and the health servers too: what listens, and a path that it answers with 200.
PATHS = {
    "TCP_PORT_LPO": "/price?asset=BTC",
    "HEALTH_PORT_LPO": "/ready",
    "TCP_PORT_LRS": "/openapi.json",
    "HEALTH_PORT_LRS": "/ready",
    "SIMULATOR_PORT": "/",
}
HOSTS = ("127.0.0.1", "127.0.0.2", "::1")
HALF_A_HEAD = b"GET /ready HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A demo on `::`, whose feeds reach their simulator over IPv6."""
    with new_node(tmp_path_factory.mktemp("node"), BIND_HOST="::") as started:
        started.start()
        started.wait_ready()
        started.wait_all_sources()
        started.wait_database()
        yield started
        assert started.stop() == 0


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many descriptors as this machine permits, for one test."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def ask(host: str, port: int, path: str, seconds: float = 8) -> int:
    """The status of one GET over a connection of its own."""
    with socket.create_connection((host, port), timeout=seconds) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("port_name", PATHS)
def test_every_listener_answers_over_both_families(node: Node, port_name: str, host: str) -> None:
    """8080, 8081, 9090, 9091 and the simulator."""
    assert ask(host, node.ports[port_name], PATHS[port_name]) == 200


@pytest.mark.parametrize("host", [*HOSTS, "localhost"])
@pytest.mark.parametrize("via", ["http", "text", "binary"])
def test_our_own_client_is_answered_at_every_address(node: Node, host: str, via: Via) -> None:
    """Its UDP sockets are connected: a reply from another address than the asked one would never reach it."""
    client = Client(host, node.ports["TCP_PORT_LPO"], node.ports["UDP_PORT_LPO"], timeout=20)
    assert client.prices("BTC", via=via)[0]["status"] == "fresh"


@pytest.mark.parametrize("host", HOSTS)
def test_a_report_over_udp_comes_from_the_address_that_was_asked(node: Node, host: str) -> None:
    """A refusal is a reply."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect((host, node.ports["UDP_PORT_LRS"]))
        client.send(b'{"report":"summary"}'.ljust(400))
        assert json.loads(client.recv(4096))["error"]["code"] == "missing_key"


@pytest.mark.long
@pytest.mark.parametrize(
    ("port_name", "count", "first_bytes"),
    [
        ("TCP_PORT_LPO", 9_000, b""),
        ("TCP_PORT_LPO", 3_000, HALF_A_HEAD),
        ("TCP_PORT_LRS", 6_500, b""),
        ("TCP_PORT_LRS", 3_000, HALF_A_HEAD),
        ("HEALTH_PORT_LPO", 3_000, HALF_A_HEAD),
        ("HEALTH_PORT_LRS", 3_000, b""),
    ],
)
def test_one_address_closes_no_listener(
    node: Node, many_files: None, port_name: str, count: int, first_bytes: bytes
) -> None:
    """Silent connections, and half heads: others are answered all the time, /ready is true, and all end in time."""
    port = node.ports[port_name]
    with contextlib.ExitStack() as held:
        for number in range(count):
            with contextlib.suppress(ConnectionError):  # shut again already
                client = held.enter_context(socket.create_connection(("127.0.0.1", port), 10, ("127.0.0.9", 0)))
                client.sendall(first_bytes)
            if number % 1_000 == 999:
                assert ask("127.0.0.1", port, PATHS[port_name]) == 200
        for ready in ("HEALTH_PORT_LPO", "HEALTH_PORT_LRS"):
            assert ask("127.0.0.1", node.ports[ready], "/ready") == 200
        assert ask("::1", port, PATHS[port_name]) == 200
        # As long as the test holds them: a first request is due in 10 s.
        node.wait("the end of all", lambda: _server_ends(port) < 20, 40)
    assert node.health()["status"] in ("ok", "degraded")


def _server_ends(port: int) -> int:
    """Established connections at this port, of which the server's side is still open."""
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return sum(row[1].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


def test_the_node_says_where_it_is(node: Node) -> None:
    """What it prints can be pasted: an IPv6 address in brackets in a URL, and without them for nc."""
    text = (Path(node.data_dir) / "stdout").read_text() + (Path(node.data_dir) / "stderr").read_text()
    assert f"curl 'http://[::1]:{node.ports['TCP_PORT_LPO']}/price?asset=BTC'" in text
    assert f"nc -u -w1 ::1 {node.ports['UDP_PORT_LPO']}" in text
