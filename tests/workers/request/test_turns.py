"""A forked request worker under the governor, on real sockets: what it refuses, and what it still does."""

import collections
import socket
from typing import Any

import pytest

from tests.support.patience import PATIENCE
from trinity.clock import SystemClock
from trinity.compiled import jit_enabled
from trinity.config import RequestSection
from trinity.vocabulary import ADMISSION_CLASSES, CODES

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="the loop exists only compiled")

HOST = "127.0.0.1"
# So little that a burst from many connections is over it on any machine.
GOVERNED = RequestSection(pin=False, target_queue_delay_ms=0.02)
REQUEST = b"GET /price?asset=BTC HTTP/1.1\r\nHost: x\r\n\r\n"
HEALTH = REQUEST.replace(b"/price?asset=BTC", b"/health")
CONNECTIONS, PIPELINED = 200, 4


def connect(node: Any) -> socket.socket:
    return socket.create_connection((HOST, node.ports.tcp_port_lpo), timeout=20)


def read_statuses(client: socket.socket, count: int) -> list[bytes]:
    """Of the next `count` answers, which must be all that comes."""
    received, statuses = b"", []
    while len(statuses) < count:
        head, gap, rest = received.partition(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]) if gap else 0
        if not gap or len(rest) < length:
            part = client.recv(1 << 16)
            assert part, "the connection ended"
            received += part
            continue
        statuses.append(head[9:12])
        received = rest[length:]
    assert received == b""
    return statuses


def refused(node: Any) -> int:
    return sum(node.counter("overload_refusals_total", which) for which in ADMISSION_CLASSES)


def test_a_worker_over_its_target_refuses_unread_answers_health_and_recovers(warm: None, node: Any) -> None:
    """Every request has its answer and one record, each connection stays, and an idle worker admits."""
    node.start(request=GOVERNED)
    clients = [connect(node) for _ in range(CONNECTIONS)]
    counts: collections.Counter[bytes] = collections.Counter()
    clock = SystemClock()
    end_ns = clock.monotonic_ns() + int(PATIENCE * 3 * 1e9)
    while (refused(node) == 0 or len(counts) < 2) and clock.monotonic_ns() < end_ns:
        for client in clients:
            client.sendall(REQUEST * PIPELINED)
        for client in clients:
            counts.update(read_statuses(client, PIPELINED))
    assert set(counts) == {b"200", b"503"}
    assert refused(node) == counts[b"503"]
    records = collections.Counter(CODES[code] for code in node.records()["code"])
    assert records["overloaded"] == counts[b"503"]
    assert records["ok"] == counts[b"200"]
    for client in clients:
        client.sendall(HEALTH)
    assert {read_statuses(client, 1)[0] for client in clients} == {b"200"}
    clients[0].sendall(REQUEST)  # alone: the worker was idle
    assert read_statuses(clients[0], 1) == [b"200"]
    line = node.memory.admission.read(0)
    assert (line.open, line.admitted > 0, sum(line.refused)) == (CONNECTIONS, True, counts[b"503"])
    for client in clients:
        client.close()


def test_connections_are_bounded_over_the_workers_and_idle_ones_give_way(warm: None, node: Any) -> None:
    """The limit may be lowered while the node runs; then it closes what is idle."""
    node.start(0)
    node.start(1)
    admission = node.memory.admission
    admission.tell_limit(30, 0)
    clients = []
    for _ in range(80):
        clients.append(connect(node))
        clients[-1].sendall(REQUEST)
        assert read_statuses(clients[-1], 1) == [b"200"]
    assert sum(line.open for line in admission.read_all()) <= 30
    admission.tell_limit(8, 0)
    node.wait(lambda: sum(line.open for line in admission.read_all()) <= 8, "connections given up")
    assert all(line.open >= 1 for line in admission.read_all())
    for client in clients:
        client.close()


def test_a_flood_of_datagrams_makes_their_queue_short(warm: None, node: Any) -> None:
    """What finds no place in it costs the worker nothing; when the flood is over the queue grows again."""
    node.start(request=GOVERNED)
    admission = node.memory.admission
    node.wait(lambda: admission.read(0).datagram_limit > 0, "the first window")
    full = admission.read(0).datagram_limit
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((HOST, node.ports.udp_port_lpo))

        def flood() -> bool:
            for _ in range(2_000):
                sender.send(b"BTC" + b" " * 200)
            return bool(admission.read(0).datagram_limit < full / 2)

        node.wait(flood, "a short queue", PATIENCE * 5)
        node.wait(lambda: admission.read(0).datagram_limit == full, "the whole queue again", PATIENCE * 5)
