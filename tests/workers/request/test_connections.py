"""Connections over socket pairs, driven step by step without the loop around them."""

import json
import select
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from trinity import metrics
from trinity.clock import NS_PER_SECOND
from trinity.compiled import jit_enabled
from trinity.limits import HEAD_MAX_NS, IDLE_MAX_NS, PIPELINED_MAX
from trinity.markets import Catalog
from trinity.memory.answer_table import ROW_WORDS, SLOT_WORDS
from trinity.memory.cell import publish
from workers.request import connections, routes
from workers.request.connections import DEADLINE_NS, FD, PHASE, READY_COUNT
from workers.request.libc import EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, EVENT_WORDS, event_bits, event_tag

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")

NOW = 10**18
PRICE = b"GET /price?asset=BTC HTTP/1.1\r\nHost: x\r\n\r\n"
ASSETS = b"GET /assets HTTP/1.1\r\nHost: x\r\n\r\n"


class Bench:
    """Two connections' worth of memory, a good BTC, and the client ends of what was opened."""

    def __init__(self, catalog: Catalog, make_answer: Any) -> None:
        words = np.zeros(12 * ROW_WORDS, dtype=np.uint64)
        record = make_answer("BTC", valid_until_ns=NOW * 2, newest_received_at_ns=NOW)
        publish(words, 0, SLOT_WORDS, record.view(np.uint64))
        self.epoll = select.epoll()
        self.desk = routes.make_desk(words, catalog, "bench", False, 0, 0)
        self.at = connections.make_connections(self.epoll.fileno(), self.desk, 2)
        self.counters = np.zeros(248, dtype=np.uint64)
        self.clients: list[socket.socket] = []

    def open(self) -> socket.socket:
        """A client whose other end was just accepted."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(5)
        self.clients.append(theirs)
        connections.open_connection(self.at, self.desk, self.counters, ours.detach(), NOW)
        return theirs

    def serve(self, slot: int = 0, bits: int = EPOLLIN, now_ns: int = NOW) -> None:
        connections.serve_event(self.at, self.desk, self.counters, slot, bits, now_ns)

    def serve_ready(self) -> int:
        """One turn of the ready list; how many were on it."""
        events = np.zeros(8 * EVENT_WORDS, dtype=np.uint32)
        count = connections.take_ready(self.at, events, 0)
        for i in range(count):
            self.serve(event_tag(events, i), event_bits(events, i))
        return count

    def count(self, name: str, *labels: str) -> int:
        return int(self.counters[metrics.REQUEST.index(name, *labels)])


@pytest.fixture
def bench(warm: None, catalog: Catalog, make_answer: Any) -> Iterator[Bench]:
    made = Bench(catalog, make_answer)
    yield made
    for client in made.clients:
        client.close()
    for slot in range(2):
        connections.close_connection(made.at, slot)
    made.epoll.close()


def read_all(client: socket.socket) -> bytes:
    """Everything that is there now."""
    client.setblocking(False)
    received = b""
    try:
        while part := client.recv(1 << 20):
            received += part
    except BlockingIOError:
        pass
    return received


def test_a_request_in_single_bytes_is_answered_once_when_it_is_whole(bench: Bench) -> None:
    """Nothing goes out before the last byte, and one whole answer then."""
    client = bench.open()
    for i in range(len(PRICE)):
        assert read_all(client) == b""
        client.send(PRICE[i : i + 1])
        bench.serve()
    answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["asset"] == "BTC"
    assert bench.count("oracle_http_responses_total", "200") == 1


def test_nothing_is_answered_unasked(bench: Bench) -> None:
    """An event without bytes, and half a request, get no byte."""
    client = bench.open()
    bench.serve()
    client.send(PRICE[:-1])
    bench.serve()
    bench.serve()
    assert read_all(client) == b""


def test_a_long_pipeline_is_answered_in_turns_and_in_order(bench: Bench) -> None:
    """After 64 answers the connection waits on the ready list and then goes on where it stopped."""
    client = bench.open()
    client.send((PRICE + ASSETS) * 50)
    bench.serve()
    first = read_all(client)
    assert first.count(b"HTTP/1.1 ") == PIPELINED_MAX
    assert bench.serve_ready() == 1
    bench.serve_ready()
    whole = first + read_all(client)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in whole.split(b"HTTP/1.1 ")[1:]]
    assert len(bodies) == 100
    assert all((b'"asset":"BTC"' in body) == (i % 2 == 0) for i, body in enumerate(bodies))


def test_half_a_head_has_one_deadline_and_then_a_408(bench: Bench) -> None:
    """More bytes do not move the deadline of a slow head; when it passes, 408 and the end."""
    client = bench.open()
    assert bench.at.table[0, DEADLINE_NS] == NOW + IDLE_MAX_NS
    client.send(b"GET /pr")
    bench.serve()
    client.send(b"ice")
    bench.serve(now_ns=NOW + NS_PER_SECOND)
    assert bench.at.table[0, DEADLINE_NS] == NOW + HEAD_MAX_NS
    connections.expire(bench.at, bench.desk, bench.counters, 0, NOW + HEAD_MAX_NS)
    assert read_all(client).startswith(b"HTTP/1.1 408 ")
    assert client.recv(1) == b""
    assert bench.at.table[0, PHASE] == connections.LINGERING


def test_an_idle_connection_is_closed_without_a_word(bench: Bench) -> None:
    """The keep-alive time-out is no error."""
    client = bench.open()
    connections.expire(bench.at, bench.desk, bench.counters, 0, NOW + IDLE_MAX_NS)
    assert client.recv(1) == b""
    assert bench.at.table[0, FD] == -1


def test_a_client_that_does_not_read_stops_being_read(bench: Bench) -> None:
    """Its answers wait, its requests stay in the socket, and all come in order once it reads."""
    client = bench.open()
    client.setblocking(False)
    sent = 0
    for _ in range(2000):
        try:
            sent += client.send(PRICE)
        except BlockingIOError:
            break
        bench.serve()
        bench.serve_ready()
    assert bench.at.table[0, PHASE] == connections.STALLED
    asked = sent // len(PRICE)
    answered = b""
    for _ in range(5000):
        answered += read_all(client)
        bench.serve(bits=EPOLLOUT)
        if bench.serve_ready() == 0 and bench.at.table[0, PHASE] != connections.STALLED:
            break
    answered += read_all(client)
    assert answered.count(b"HTTP/1.1 200 OK") == asked
    assert int(answered.split(b"X-Request-Id: ")[-1][:16], 16) == asked


def test_a_stalled_client_whose_time_is_up_gives_its_memory_back(bench: Bench) -> None:
    """All places for unsent output are free again after the close."""
    client = bench.open()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    free = int(bench.at.state[connections.STALL_FREE_COUNT])
    while bench.at.table[0, PHASE] != connections.STALLED:
        client.send(PRICE)
        bench.serve()
    assert bench.at.state[connections.STALL_FREE_COUNT] == free - 1
    connections.expire(bench.at, bench.desk, bench.counters, 0, NOW * 2)
    assert bench.at.state[connections.STALL_FREE_COUNT] == free
    assert bench.at.table[0, FD] == -1


def test_a_refused_client_can_read_its_answer_although_it_goes_on_sending(bench: Bench) -> None:
    """After a refusal our side is shut and the rest is read and dropped until the client is done."""
    client = bench.open()
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + PRICE)
    bench.serve()
    client.send(b"x" * 50_000)
    bench.serve_ready()
    answer = read_all(client)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    client.shutdown(socket.SHUT_WR)
    bench.serve(bits=EPOLLIN | EPOLLRDHUP | EPOLLHUP)
    assert bench.at.table[0, FD] == -1


def test_connection_close_is_honoured(bench: Bench) -> None:
    """The answer comes whole and the end behind it."""
    client = bench.open()
    client.send(b"GET /health HTTP/1.0\r\n\r\n")
    bench.serve()
    answer = b"".join(iter(lambda: client.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert bench.at.table[0, FD] == -1


def test_a_client_that_half_closes_still_gets_its_answer(bench: Bench) -> None:
    """What was asked before the client's end is answered, then the connection ends."""
    client = bench.open()
    client.send(PRICE)
    client.shutdown(socket.SHUT_WR)
    bench.serve(bits=EPOLLIN | EPOLLRDHUP)
    assert read_all(client).startswith(b"HTTP/1.1 200 OK")
    assert bench.serve_ready() == 1
    assert bench.at.table[0, FD] == -1


def test_at_the_limit_a_client_is_told_and_closed(bench: Bench) -> None:
    """The third client of two gets 503, and a freed place is used again."""
    first, _ = bench.open(), bench.open()
    third = bench.open()
    assert read_all(third).startswith(b"HTTP/1.1 503 ")
    assert bench.count("oracle_http_connections_refused_total") == 1
    first.close()
    bench.serve(0, EPOLLIN | EPOLLRDHUP)
    fourth = bench.open()
    fourth.send(PRICE)
    bench.serve(0)
    assert read_all(fourth).startswith(b"HTTP/1.1 200 OK")


def test_an_internal_error_costs_one_connection_and_is_counted(bench: Bench) -> None:
    """An index out of range while a request is served closes that connection; the other goes on."""
    broken, sound = bench.open(), bench.open()
    desk = bench.desk._replace(body=np.zeros(4, dtype=np.uint8))
    broken.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    connections.serve_event(bench.at, desk, bench.counters, 0, EPOLLIN, NOW)
    assert broken.recv(1) == b""
    assert bench.count("oracle_internal_errors_total") == 1
    sound.send(PRICE)
    bench.serve(1)
    assert read_all(sound).startswith(b"HTTP/1.1 200 OK")
    assert bench.at.state[READY_COUNT] == 0
