"""workers/request/http/overload.py: where requests end that nobody reads, and what is said to them."""

import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.request.bench import NOW, PRICE, Bench, read_all
from trinity.compiled import jit_enabled, refer_to
from trinity.memory.usage_ring import UsageRing
from trinity.native.octets import octets_of
from trinity.vocabulary import CODES
from workers.request.http import overload, slots
from workers.request.http.parse import HEAD_WORDS, KEEP_ALIVE, MINOR_VERSION, NEXT, REQUEST, parse_head

needs_system_calls = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")

_NAMES = st.sampled_from(
    ["Host", "Accept", "Content-Length", "content-length", "Transfer-Encoding", "Connection", "Cookie", "Te", "Cc", "X"]
)
_VALUES = st.sampled_from(["x", "5", "0", "chunked", "close", "keep-alive", "upgrade, close", "gzip", ""])
_HEADERS = st.lists(st.tuples(_NAMES, st.sampled_from([":", ": ", ":\t", " :"]), _VALUES), max_size=5)


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads that are nearly right, and some that are."""
    method = draw(st.sampled_from(["GET", "HEAD", "OPTIONS", "POST", "G"]))
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]))
    target = draw(st.sampled_from(["/price?asset=BTC", "/health", "/v1/health", "/v1/price", "/", "*"]))
    lines = [f"{method} {target} {version}", "Host: a", *("".join(header) for header in draw(_HEADERS))]
    end = draw(st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"]))
    return "\r\n".join(lines).encode() + end.encode() + b"\r\n"


@pytest.mark.uncompiled
@given(heads(), st.binary(max_size=20))
def test_a_head_that_keeps_its_connection_ends_where_the_parser_says(head: bytes, rest: bytes) -> None:
    """Whatever is not certainly a head without a body ends the connection: nothing can be hidden behind it."""
    octets, parsed = octets_of(head + rest), np.zeros(HEAD_WORDS, dtype=np.int64)
    kind, following = overload.find_head(octets, 0, octets.size)
    outcome = parse_head(octets, 0, octets.size, parsed)
    if kind in (overload.WHOLE, overload.HEALTH) and outcome == REQUEST:
        assert following == parsed[NEXT]
        assert parsed[KEEP_ALIVE] == 1
        assert parsed[MINOR_VERSION] == 1
    if outcome == REQUEST and kind == overload.PARTIAL:
        raise AssertionError("a whole head waits for more")


@pytest.mark.uncompiled
@given(st.integers(1, len(PRICE) - 1))
def test_a_part_of_a_head_waits_for_the_rest(cut: int) -> None:
    """Wherever it is cut, no part of a good request is taken for the whole or for an end."""
    octets = octets_of(PRICE[:cut])
    assert overload.find_head(octets, 0, octets.size)[0] == overload.PARTIAL


@pytest.mark.uncompiled
@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nTRANSFER-ENCODING: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\r\n Content-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: a\rContent-Length: 3\r\n\r\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"G" * (8 * 1024),
    ],
)
def test_whatever_may_have_a_body_or_an_end_costs_the_connection(head: bytes) -> None:
    """Also in other letters, folded, with bare line ends, in other versions or too long; all that was read goes."""
    octets = octets_of(head)
    assert overload.find_head(octets, 0, octets.size) == (overload.ENDS, octets.size)


@pytest.fixture
def bench(make_private: Any, make_answer: Any) -> Iterator[Bench]:
    made = Bench(make_private(), make_answer)
    yield made
    made.close()


def refuse(bench: Bench, client: socket.socket, sent: bytes, slot: int = 0) -> bytes:
    """What the client reads when it sends this while its worker is over its limit."""
    client.sendall(sent)
    slots.put_off(refer_to(bench.at), slot, NOW)
    bench.serve(slot)  # an event of its own does not serve it
    while bench.at.state[slots.OVER_COUNT]:
        overload.refuse_next(refer_to(bench.at), refer_to(bench.context), bench.counters, NOW)
    return read_all(client)


@needs_system_calls
def test_every_refused_request_has_its_answer_and_its_record_and_the_connection_stays(bench: Bench) -> None:
    """With Retry-After; HEAD gets no body; then the connection is served as any other."""
    client = bench.open()
    client.sendall(PRICE)
    bench.serve()
    assert read_all(client).startswith(b"HTTP/1.1 200 ")
    ring = UsageRing(bench.private.ring.path, bench.context.ledger.ring)
    before = ring.written
    answers = refuse(bench, client, PRICE + PRICE.replace(b"GET", b"HEAD") + PRICE[:20])
    assert answers.count(b"HTTP/1.1 503 Service Unavailable\r\n") == 2
    assert answers.count(b"\r\nRetry-After: 1\r\n") == 2
    body = answers.split(b"\r\n\r\n")[1].partition(b"HTTP/1.1")[0]
    assert json.loads(body)["error"]["code"] == "overloaded"
    assert int(answers.partition(b"Content-Length: ")[2].partition(b"\r")[0]) == len(body)
    assert answers.endswith(b"\r\n\r\n")  # of HEAD
    records = ring.read(before, ring.written - before)
    assert [CODES[code] for code in records["code"]] == ["overloaded"] * 2
    assert len({answers.split(b"X-Request-Id: ")[i][:16] for i in (1, 2)}) == 2
    assert bench.count("overload_refusals_total", "0") == 2
    client.sendall(PRICE[20:])
    bench.serve()
    assert read_all(client).startswith(b"HTTP/1.1 200 ")


@needs_system_calls
def test_health_is_answered_whatever_the_load(bench: Bench) -> None:
    """Between requests that are refused, in its place."""
    health = PRICE.replace(b"/price?asset=BTC", b"/health")
    answers = refuse(bench, bench.open(), PRICE + health + PRICE)
    assert [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]] == [b"503", b"200", b"503"]


@needs_system_calls
def test_a_request_that_may_have_a_body_is_refused_and_ends_the_connection(bench: Bench) -> None:
    """What follows is read and dropped, and never taken for a request."""
    client = bench.open()
    answers = refuse(bench, client, b"GET /price HTTP/1.1\r\nHost: x\r\nContent-Length: 43\r\n\r\n" + PRICE)
    assert answers.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answers
    assert bench.at.table[0, slots.PHASE] == slots.LINGERING


@needs_system_calls
def test_a_refusal_is_of_the_key_of_the_connections_last_request(bench: Bench) -> None:
    """It is counted under that key's class and recorded under its id, though the refused request was not read."""
    bench.private.add_key(7, b"paid-key", admission_class=3)
    client = bench.open()
    client.sendall(PRICE[:-2] + b"X-API-Key: paid-key\r\n\r\n")
    bench.serve()
    read_all(client)
    assert bench.at.known[0] & slots.CLASS_MASK == 3
    refuse(bench, client, PRICE)
    assert bench.count("overload_refusals_total", "3") == 1
    ring = bench.private.ring
    assert ring.read(ring.written - 1, 1)["key_id"] == [7]


@needs_system_calls
def test_a_connection_that_closes_while_it_is_to_be_refused_leaves_its_place(bench: Bench) -> None:
    """A newcomer in its slot is not refused in its stead."""
    bench.open()
    slots.put_off(refer_to(bench.at), 0, NOW)
    slots.close_connection(refer_to(bench.at), 0)
    client = bench.open()
    client.sendall(PRICE)
    overload.refuse_next(refer_to(bench.at), refer_to(bench.context), bench.counters, NOW)
    assert read_all(client) == b""
    bench.serve()
    assert read_all(client).startswith(b"HTTP/1.1 200 ")
    assert bench.at.state[slots.OVER_COUNT] == 0
