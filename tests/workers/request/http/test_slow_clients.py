"""Clients that do not read, and clients that were refused."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.workers.request.bench import NOW, PRICE, Bench, read_all
from trinity.compiled import jit_enabled, refer_to
from trinity.native.libc import EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP
from workers.request.http import connection as connections
from workers.request.http.slots import FD, PHASE, STALL_FREE_COUNT, STALLED

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")


@pytest.fixture
def bench(warm: None, make_private: Any, make_answer: Any) -> Iterator[Bench]:
    made = Bench(make_private(), make_answer)
    yield made
    made.close()


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
    assert bench.at.table[0, PHASE] == STALLED
    asked = sent // len(PRICE)
    answered = b""
    for _ in range(5000):
        answered += read_all(client)
        bench.serve(bits=EPOLLOUT)
        if bench.serve_ready() == 0 and bench.at.table[0, PHASE] != STALLED:
            break
    answered += read_all(client)
    assert answered.count(b"HTTP/1.1 200 OK") == asked
    assert int(answered.split(b"X-Request-Id: ")[-1][:16], 16) == asked - 1  # they begin at zero


def test_a_stalled_client_whose_time_is_up_gives_its_memory_back(bench: Bench) -> None:
    """All places for unsent output are free again after the close."""
    client = bench.open()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    free = int(bench.at.state[STALL_FREE_COUNT])
    while bench.at.table[0, PHASE] != STALLED:
        client.send(PRICE)
        bench.serve()
    assert bench.at.state[STALL_FREE_COUNT] == free - 1
    connections.expire(refer_to(bench.at), refer_to(bench.context), bench.counters, 0, NOW * 2)
    assert bench.at.state[STALL_FREE_COUNT] == free
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
