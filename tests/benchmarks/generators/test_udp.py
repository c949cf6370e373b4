"""The UDP generator against a real server that answers, drops, lies or answers twice."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from benchmarks.generators.load import Load, Outcome
from benchmarks.generators.udp import BINARY, TEXT, UdpGenerator, UdpTarget

ASSETS = ["BTC", "ETH", "SOL"]
# Replies to the n-th datagram that the server received.
Behaviour = Callable[[int, bytes], list[bytes]]


def _text(asset: bytes, timestamp_ms: int = 1) -> bytes:
    return b'{"asset":"%s","price":1.5,"timestamp":%d}' % (asset, timestamp_ms)


def _frame(request: bytes, mantissa: int = 15) -> bytes:
    record = struct.pack("<qIIbbBBBB", mantissa, 1, 5, -1, -1, 0, 5, 0, 0)
    return (
        struct.pack("<4sBBBB", b"\xd7TRA", 1, 0, request[6], 0)
        + request[8:16]
        + struct.pack("<Q", 9)
        + record * request[6]
    )


@contextlib.contextmanager
def _server(behaviour: Behaviour) -> Iterator[int]:
    stopping = threading.Event()

    def serve() -> None:
        count = 0
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                request, sender = listener.recvfrom(2048)
                for reply in behaviour(count, request):
                    listener.sendto(reply, sender)
                count += 1

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(0.05)
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        stopping.set()
        thread.join()


def _run(behaviour: Behaviour, wanted: Load, in_flight: int = 8, lanes: int = 1, binary: bool = False) -> Outcome:
    with _server(behaviour) as port:
        generator = UdpGenerator(UdpTarget("127.0.0.1", port, ASSETS, BINARY if binary else TEXT), in_flight, lanes)
        try:
            return generator.run(wanted)
        finally:
            generator.close()


@pytest.mark.parametrize(("in_flight", "lanes", "binary"), [(1, 1, False), (64, 4, False), (64, 4, True)])
def test_every_right_reply_is_counted_once(in_flight: int, lanes: int, binary: bool) -> None:
    """Against an honest server nothing is lost, and a binary frame counts as one lookup an asset."""

    def honest(_: int, request: bytes) -> list[bytes]:
        return [_frame(request) if binary else _text(request)]

    outcome = _run(honest, Load(0.2), in_flight, lanes, binary)
    assert outcome.answered == outcome.sent >= in_flight
    assert outcome.faults == {}
    assert outcome.lookups == outcome.answered * (len(ASSETS) if binary else 1)
    assert outcome.latencies.total == outcome.answered


@pytest.mark.parametrize("binary", [False, True])
def test_dropped_datagrams_are_lost_and_nothing_else(binary: bool) -> None:
    """Each datagram that the server drops is one lost request; those around it are answered rightly."""
    dropped = []

    def behaviour(count: int, request: bytes) -> list[bytes]:
        if count % 10 == 9:
            dropped.append(request)
            return []
        return [_frame(request) if binary else _text(request)]

    outcome = _run(behaviour, Load(0.2), binary=binary)
    assert dropped
    assert outcome.faults == {"lost": len(dropped)}
    assert outcome.answered + len(dropped) == outcome.sent


@pytest.mark.parametrize(
    ("lie", "fault", "binary"),
    [
        (lambda _: _text(b"DOGE"), "wrong_asset", False),
        (lambda request: _text(request)[:-1], "bad_json", False),
        (lambda request: _text(request, 0), "time_went_back", False),
        (lambda _: b'{"error":{"code":"stale_price"}}', "refused", False),
        (lambda request: _frame(request, mantissa=400), "wrong_asset", True),
        (lambda request: _frame(request)[:-1], "not_an_answer", True),
    ],
)
def test_a_server_that_lies_now_and_then_is_caught_each_time(
    lie: Callable[[bytes], bytes], fault: str, binary: bool
) -> None:
    """Every tenth reply is wrong: as many faults of that name, and no other."""
    told = []

    def behaviour(count: int, request: bytes) -> list[bytes]:
        if count % 10 != 9:
            return [_frame(request) if binary else _text(request)]
        told.append(request)
        return [lie(request)]

    outcome = _run(behaviour, Load(0.2), in_flight=2, binary=binary)
    assert told
    assert outcome.faults == {fault: len(told)}


def test_a_reply_that_nobody_asked_for_is_no_answer() -> None:
    """A server that answers the last datagram in flight twice is noticed."""
    outcome = _run(lambda _, request: [_text(request)] * 2, Load(0.2), in_flight=1)
    assert outcome.faults.keys() & {"not_an_answer", "wrong_asset", "lost"}


def test_a_silent_server_loses_everything_and_the_run_ends() -> None:
    """Nothing comes back: all that was sent is lost, and the window is filled again after the limit."""
    outcome = _run(lambda *_: [], Load(1.2), in_flight=4)
    assert outcome.answered == 0
    assert outcome.faults == {"lost": outcome.sent}
    assert outcome.sent == 8


def test_the_open_loop_keeps_its_schedule() -> None:
    """At 500 datagrams/s for 0.4 s exactly 200 fall due, over any number of lanes."""
    outcome = _run(lambda _, request: [_text(request)], Load(0.4, rate=500), in_flight=64, lanes=3)
    assert outcome.answered == outcome.sent == 200


def test_a_stall_costs_every_request_that_it_delayed() -> None:
    """A server that stalls once makes all requests due meanwhile late, also those that were not sent yet."""
    stall = threading.Event()

    def behaviour(count: int, request: bytes) -> list[bytes]:
        if count == 10:
            stall.wait(0.3)
        return [_text(request)]

    outcome = _run(behaviour, Load(0.6, rate=1_000), in_flight=4)
    assert outcome.answered == outcome.sent
    # 300 of 600 fall due during the stall; the earlier half of them waits for more than 0.15 s.
    assert outcome.latencies.percentile_ns(80) > 100_000_000
