"""The HTTP generator against a real server that tells the truth, lies, dawdles or hangs up."""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from benchmarks.generators.http import HttpGenerator, HttpTarget, price_requests
from benchmarks.generators.load import Load, Outcome

ASSETS = ["BTC", "ETH", "SOL"]
# What a server does with the n-th request of a connection, given its asset: bytes to send, None to hang up.
Behaviour = Callable[[int, str], bytes | None]


def _answer(asset: str, timestamp_ms: int = 1, status: bytes = b"200 OK") -> bytes:
    body = b'{"asset":"%s","price":1.5,"timestamp":%d}' % (asset.encode(), timestamp_ms)
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def _truth(_: int, asset: str) -> bytes:
    return _answer(asset)


@contextlib.contextmanager
def _server(behaviour: Behaviour) -> Iterator[int]:
    """A threaded server on a free port; a thread a connection."""

    def talk(connection: socket.socket) -> None:
        pending, count = b"", 0
        with connection, contextlib.suppress(OSError):
            while received := connection.recv(65536):
                *requests, pending = (pending + received).split(b"\r\n\r\n")
                answers = []
                for request in requests:
                    answers.append(behaviour(count, request.split(b"asset=")[1].split(b" ")[0].decode()))
                    count += 1
                connection.sendall(b"".join(answer for answer in answers if answer is not None))
                if None in answers:
                    return

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _run(behaviour: Behaviour, wanted: Load, connections: int = 4, pipelining: int = 1) -> Outcome:
    with _server(behaviour) as port:
        target = HttpTarget("127.0.0.1", port, ASSETS, price_requests(ASSETS))
        generator = HttpGenerator(target, connections, pipelining)
        try:
            return generator.run(wanted)
        finally:
            generator.close()


def test_connections_begin_a_stride_apart_and_come_from_the_addresses_that_are_named() -> None:
    """The first request of each: no two connections ask for the same."""
    asked: list[str] = []

    def note(count: int, asset: str) -> bytes:
        if count == 0:
            asked.append(asset)
        return _truth(count, asset)

    names = [f"A{number}" for number in range(12)]
    with _server(note) as port:
        target = HttpTarget(
            "127.0.0.1", port, names, price_requests(names), stride=4, sources=("127.0.0.21", "127.0.0.22")
        )
        generator = HttpGenerator(target, 3)
        try:
            peers = [socket.socket(fileno=os.dup(int(fd))) for fd in generator._connections["fd"]]
            addresses = [peer.getsockname()[0] for peer in peers]
            for peer in peers:
                peer.close()
            outcome = generator.run(Load(0.2, 300))
        finally:
            generator.close()
    assert addresses == ["127.0.0.21", "127.0.0.22", "127.0.0.21"]
    assert sorted(asked) == ["A0", "A4", "A8"]
    assert not outcome.faults


@pytest.mark.parametrize(("connections", "pipelining"), [(1, 1), (8, 1), (3, 16)])
def test_every_right_answer_is_counted_once(connections: int, pipelining: int) -> None:
    """Against an honest server the closed loop has no fault, and each request has one answer and one latency."""
    outcome = _run(_truth, Load(0.2), connections, pipelining)
    assert outcome.answered == outcome.sent >= connections * pipelining
    assert outcome.faults == {}
    assert outcome.closed == 0
    assert outcome.latencies.total == outcome.answered


def test_answers_cut_in_pieces_are_put_together() -> None:
    """A server that sends the head of the next answer with the end of this one is understood."""

    def ragged(count: int, asset: str) -> bytes:
        answer, cut = _answer(asset), 30 + count % 20
        return (
            answer[:cut] if count % 2 == 0 else b"".join((_answer(ragged_of(count))[30 + (count - 1) % 20 :], answer))
        )

    def ragged_of(count: int) -> str:
        return ASSETS[(count - 1) % len(ASSETS)]

    outcome = _run(ragged, Load(0.2), connections=1, pipelining=2)
    assert outcome.answered == outcome.sent > 0
    assert outcome.faults == {}


@pytest.mark.parametrize(
    ("lie", "fault"),
    [
        (lambda asset: _answer("BTCX"), "wrong_asset"),
        (lambda asset: _answer(ASSETS[(ASSETS.index(asset) + 1) % 3]), "wrong_asset"),
        (lambda asset: _answer(asset, status=b"503 Service Unavailable"), "refused"),
        (lambda asset: _answer(asset).replace(b'"price":1.5', b'"price":1..'), "bad_json"),
        (lambda asset: _answer(asset, timestamp_ms=0), "time_went_back"),
    ],
)
def test_a_server_that_lies_now_and_then_is_caught_each_time(lie: Callable[[str], bytes], fault: str) -> None:
    """Every tenth answer of one connection is wrong: as many faults of that name, and no other."""
    told = []

    def behaviour(count: int, asset: str) -> bytes:
        if count % 10 != 9:
            return _answer(asset)
        told.append(asset)
        return lie(asset)

    outcome = _run(behaviour, Load(0.2), connections=1)
    assert outcome.faults == {fault: len(told)}
    assert outcome.answered + len(told) == outcome.sent


def test_two_answers_for_one_request_are_no_answer() -> None:
    """A server that answers twice is given up: nothing after that can be matched."""
    outcome = _run(lambda _, asset: _answer(asset) * 2, Load(0.5), connections=2)
    assert outcome.faults["not_an_answer"] == 2
    assert outcome.closed == 2


def test_a_server_that_hangs_up_costs_what_was_in_flight() -> None:
    """Connections closed at the fifth request are counted, and the run ends when none is left."""
    outcome = _run(lambda count, asset: None if count == 4 else _answer(asset), Load(30.0), connections=3)
    assert outcome.closed == 3
    assert outcome.faults == {"broken": 3}
    assert outcome.answered == 3 * 4


def test_requests_that_nobody_answers_are_lost() -> None:
    """A server that falls silent leaves its last requests lost, not forgotten."""
    outcome = _run(lambda count, asset: _answer(asset) if count < 5 else b"", Load(0.1), connections=2)
    assert outcome.faults == {"lost": 2}
    assert outcome.answered == 10


def test_the_open_loop_keeps_its_schedule() -> None:
    """At 500 requests/s for 0.4 s exactly 200 fall due, whatever the number of connections."""
    outcome = _run(_truth, Load(0.4, rate=500), connections=7)
    assert outcome.answered == outcome.sent == 200


def test_a_stall_costs_every_request_that_it_delayed() -> None:
    """A server that stalls 0.3 s once makes all requests due meanwhile late, though it answers each at once."""
    stall = threading.Event()

    def behaviour(count: int, asset: str) -> bytes:
        if count == 10:
            stall.wait(0.3)
        return _answer(asset)

    outcome = _run(behaviour, Load(0.6, rate=1_000), connections=1)
    assert outcome.answered == outcome.sent
    # 300 of 600 fall due during the stall; the earlier half of them waits for more than 0.15 s.
    assert outcome.latencies.percentile_ns(80) > 100_000_000
