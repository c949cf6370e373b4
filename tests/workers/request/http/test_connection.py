"""Connections over socket pairs, driven step by step without the loop around them."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.workers.request.bench import ASSETS, NOW, PRICE, Bench, read_all
from trinity.clock import NS_PER_SECOND
from trinity.compiled import jit_enabled, refer_to
from trinity.config import AccessSection
from trinity.limits import HEAD_MAX_NS, IDLE_MAX_NS, PIPELINED_MAX
from trinity.native.addresses import address_words
from trinity.native.libc import EPOLLIN, EPOLLRDHUP
from workers.request.http import connection as connections
from workers.request.http.slots import DEADLINE_NS, FD, IDLE, KEPT, LINGERING, NEW, PHASE, READY_COUNT, push_ready

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")


@pytest.fixture
def bench(warm: None, make_private: Any, make_answer: Any) -> Iterator[Bench]:
    made = Bench(make_private(), make_answer)
    yield made
    made.close()


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
    assert bench.count("http_responses_total", "200") == 1


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
    client.send(b"GET /pr")
    bench.serve()
    client.send(b"ice")
    bench.serve(now_ns=NOW + NS_PER_SECOND)
    assert bench.at.table[0, DEADLINE_NS] == NOW + HEAD_MAX_NS
    connections.expire(refer_to(bench.at), refer_to(bench.context), bench.counters, 0, NOW + HEAD_MAX_NS)
    assert read_all(client).startswith(b"HTTP/1.1 408 ")
    assert client.recv(1) == b""
    assert bench.at.table[0, PHASE] == LINGERING


def test_an_idle_connection_is_closed_without_a_word(bench: Bench) -> None:
    """The keep-alive time-out is no error; it begins with an answer."""
    client = bench.open()
    client.send(PRICE)
    bench.serve()
    read_all(client)
    client.setblocking(True)
    assert (bench.at.table[0, PHASE], bench.at.table[0, DEADLINE_NS]) == (IDLE, NOW + IDLE_MAX_NS)
    connections.expire(refer_to(bench.at), refer_to(bench.context), bench.counters, 0, NOW + IDLE_MAX_NS)
    assert client.recv(1) == b""
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


def test_a_connection_without_a_request_has_a_deadline_that_nothing_but_a_request_moves(bench: Bench) -> None:
    """Silence, empty lines in any parts and half a head: the first request is due when it was due."""
    client = bench.open()
    assert (bench.at.table[0, PHASE], bench.at.table[0, DEADLINE_NS]) == (NEW, NOW + HEAD_MAX_NS)
    for seconds, part in enumerate((b"\r\n", b"\r", b"\n\r\n", b"\r", b"\nGET"), start=1):
        client.send(part)
        bench.serve(now_ns=NOW + seconds * NS_PER_SECOND)
        assert bench.at.table[0, DEADLINE_NS] == NOW + HEAD_MAX_NS
    client.send(PRICE[3:])
    bench.serve(now_ns=NOW + 6 * NS_PER_SECOND)
    assert read_all(client).startswith(b"HTTP/1.1 200 OK")
    assert bench.at.table[0, DEADLINE_NS] == NOW + 6 * NS_PER_SECOND + IDLE_MAX_NS


def test_an_empty_line_behind_a_request_leaves_the_connection_idle(bench: Bench) -> None:
    """Some clients send one too many (RFC 9112, 2.2): it is no half of a head, and gets no 408."""
    client = bench.open()
    client.send(PRICE + b"\r\n")
    bench.serve()
    assert read_all(client).count(b"HTTP/1.1 200 OK") == 1
    assert (bench.at.table[0, PHASE], bench.at.table[0, KEPT]) == (IDLE, 0)
    client.send(b"\r\n\r\n" + PRICE)
    bench.serve()
    assert read_all(client).count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize("requests", [1, PIPELINED_MAX - 1, PIPELINED_MAX, PIPELINED_MAX + 1])
def test_empty_lines_between_pipelined_requests_hold_none_of_them_up(bench: Bench, requests: int) -> None:
    """Wherever a turn ends, the rest is served in the next one, although nothing more arrives."""
    client, answers = bench.open(), 0
    client.send((b"\r\n" + PRICE) * requests + b"\r\n\r\n" + PRICE)
    bench.serve()
    answers += read_all(client).count(b"HTTP/1.1 200 OK")
    while bench.serve_ready():
        answers += read_all(client).count(b"HTTP/1.1 200 OK")
    assert answers == requests + 1


@pytest.mark.parametrize("before", [b"\r", b"\n", b"\r\n\n", b"\r\n ", b"\n\r\n"])
def test_what_only_looks_like_an_empty_line_is_refused(bench: Bench, before: bytes) -> None:
    """A bare CR or LF ends no line, and what follows an empty line is read as strictly as any request."""
    client = bench.open()
    client.send(before + PRICE)
    bench.serve()
    assert read_all(client).startswith(b"HTTP/1.1 400 ")


def test_where_nobody_gives_way_a_client_is_told_and_closed(bench: Bench) -> None:
    """Both of two have work: the third gets 503, and a freed place is used again."""
    first, _ = bench.open(), bench.open()
    for slot in range(2):
        push_ready(bench.at, slot)
    third = bench.open()
    assert read_all(third).startswith(b"HTTP/1.1 503 ")
    assert bench.count("http_connections_refused_total") == 1
    bench.serve_ready()
    first.close()
    bench.serve(0, EPOLLIN | EPOLLRDHUP)
    fourth = bench.open()
    fourth.send(PRICE)
    bench.serve(0)
    assert read_all(fourth).startswith(b"HTTP/1.1 200 OK")


def test_an_internal_error_costs_one_connection_and_is_counted(bench: Bench) -> None:
    """An index out of range while a request is served closes that connection; the other goes on."""
    broken, sound = bench.open(), bench.open()
    context = bench.context._replace(body=np.zeros(4, dtype=np.uint8))
    broken.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
    connections.serve_event(refer_to(bench.at), refer_to(context), bench.counters, 0, EPOLLIN, NOW)
    assert broken.recv(1) == b""
    assert bench.count("internal_errors_total") == 1
    sound.send(PRICE)
    bench.serve(1)
    assert read_all(sound).startswith(b"HTTP/1.1 200 OK")
    assert bench.at.state[READY_COUNT] == 0


def test_every_answer_is_recorded_with_its_peer_before_it_is_sent(bench: Bench) -> None:
    """A pipeline leaves a record an answer, in order, with the ids that the client was shown."""
    client = bench.open("2001:db8::7")
    client.send(PRICE + ASSETS + b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")
    bench.serve()
    shown = [int(part[:16], 16) for part in read_all(client).split(b"X-Request-Id: ")[1:]]
    records = bench.private.ring.read(bench.private.ring.released, 10)
    assert records["request_id"].tolist() == shown
    assert records["status"].tolist() == [200, 200, 400]
    assert {address.tobytes() for address in records["address"]} == {address_words("2001:db8::7").tobytes()}
    assert (records["latency_ns"] == 2**32 - 1).sum() + (records["latency_ns"] == 0).sum() == 3  # NOW is no real time


def test_time_outs_and_full_workers_are_recorded_with_their_peer(bench: Bench) -> None:
    """Answers without a request are answers."""
    slow = bench.open("203.0.113.1")
    slow.send(b"GET /pr")
    bench.serve()
    connections.expire(refer_to(bench.at), refer_to(bench.context), bench.counters, 0, NOW + HEAD_MAX_NS)
    bench.open("203.0.113.2")
    push_ready(bench.at, 0)
    push_ready(bench.at, 1)
    bench.open("203.0.113.3")
    records = bench.private.ring.read(bench.private.ring.released, 10)
    assert records["status"].tolist() == [408, 503]
    peers = [address_words(peer).tobytes() for peer in ("203.0.113.1", "203.0.113.3")]
    assert [address.tobytes() for address in records["address"]] == peers


def test_a_full_ring_stops_no_answer(bench: Bench) -> None:
    """What has no record is counted."""
    ring = bench.private.ring
    for _ in range(ring.capacity):
        bench.private.record()
    client = bench.open()
    client.send(PRICE)
    bench.serve()
    assert read_all(client).startswith(b"HTTP/1.1 200 OK")
    assert bench.count("usage_refused_total") == ring.refused == 1


# --- PROXY protocol -------------------------------------------------------------------------------------------

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FROM_CLIENT = SIGNATURE + b"\x21\x11\x00\x0c" + bytes([198, 51, 100, 7, 10, 0, 0, 1, 0, 9, 0, 80])
LOCAL = SIGNATURE + b"\x20\x00\x00\x00"
BALANCER = "10.0.0.1"


@pytest.fixture
def balanced(warm: None, make_private: Any, make_answer: Any) -> Iterator[Bench]:
    """A worker behind a balancer at 10.0.0.1."""
    section = AccessSection(auth="optional", trusted_proxies=("10.0.0.1",), proxy_protocol=True)
    made = Bench(make_private(section), make_answer, proxy_protocol=True)
    yield made
    made.close()


def addresses_of(bench: Bench) -> list[bytes]:
    return [address.tobytes() for address in bench.private.ring.read(bench.private.ring.released, 100)["address"]]


@pytest.mark.parametrize(("header", "caller"), [(FROM_CLIENT, "198.51.100.7"), (LOCAL, BALANCER)])
def test_the_balancers_header_names_the_client_in_any_parts(balanced: Bench, header: bytes, caller: str) -> None:
    """Byte by byte, and for every request of the connection; the health check is the balancer's own."""
    client = balanced.open(BALANCER)
    for i in range(len(header)):
        client.send(header[i : i + 1])
        balanced.serve()
        assert read_all(client) == b""
    for _ in range(2):
        client.send(PRICE)
        balanced.serve()
        assert read_all(client).startswith(b"HTTP/1.1 200 OK")
    assert addresses_of(balanced) == [address_words(caller).tobytes()] * 2


def test_header_and_request_may_come_together(balanced: Bench) -> None:
    """As a balancer sends them, also with an extension and a pipeline."""
    header = bytearray(FROM_CLIENT + b"\x05\x00\x02id")
    header[15] += 5
    client = balanced.open(BALANCER)
    client.send(bytes(header) + PRICE * 3)
    balanced.serve()
    assert read_all(client).count(b"HTTP/1.1 200 OK") == 3
    assert addresses_of(balanced) == [address_words("198.51.100.7").tobytes()] * 3


@pytest.mark.parametrize("garbage", [PRICE, b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", SIGNATURE + b"\x41"])
def test_a_balancers_connection_without_its_header_is_closed(balanced: Bench, garbage: bytes) -> None:
    """No answer, so no record: whoever it is, the address would be wrong."""
    client = balanced.open(BALANCER)
    client.send(garbage)
    balanced.serve()
    assert client.recv(1) == b""
    assert addresses_of(balanced) == []


def test_a_balancer_that_says_nothing_or_leaves_is_closed(balanced: Bench) -> None:
    """At its deadline without a word, and at once when it ends in the middle of a header."""
    silent, leaving = balanced.open(BALANCER), balanced.open(BALANCER)
    assert balanced.at.table[0, DEADLINE_NS] == NOW + HEAD_MAX_NS
    connections.expire(refer_to(balanced.at), refer_to(balanced.context), balanced.counters, 0, NOW + HEAD_MAX_NS)
    assert silent.recv(1) == b""
    leaving.send(FROM_CLIENT[:5])
    balanced.serve(1)
    leaving.shutdown(socket.SHUT_WR)
    balanced.serve(1, EPOLLIN | EPOLLRDHUP)
    assert leaving.recv(1) == b""


def test_a_stranger_needs_no_header_and_may_send_none(balanced: Bench) -> None:
    """Only a trusted peer's header is read; another's is no request."""
    stranger = balanced.open("203.0.113.9")
    stranger.send(PRICE)
    balanced.serve()
    assert read_all(stranger).startswith(b"HTTP/1.1 200 OK")
    liar = balanced.open("203.0.113.9")
    liar.send(FROM_CLIENT + PRICE)
    balanced.serve(1)
    assert read_all(liar).startswith(b"HTTP/1.1 400 ")
    assert set(addresses_of(balanced)) == {address_words("203.0.113.9").tobytes()}
