"""Room for new connections: whose bound is reached, and who gives way."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.workers.request.bench import NOW, PRICE, Bench, read_all
from trinity.clock import NS_PER_SECOND
from trinity.compiled import jit_enabled
from trinity.config import AccessSection
from workers.request.http.slots import FREE_COUNT, OF_ADDRESS_MAX, PHASE, STALLED, push_ready

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")

MINE, OTHER = "203.0.113.9", "203.0.113.10"


@pytest.fixture
def bench(warm: None, make_private: Any, make_answer: Any) -> Iterator[Bench]:
    made = Bench(make_private(AccessSection(auth="optional", trusted_proxies=("10.0.0.0/8",))), make_answer)
    yield made
    made.close()


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def counts(bench: Bench) -> tuple[int, int]:
    """Connections that gave way, and that were refused."""
    names = ("http_connections_displaced_total", "http_connections_refused_total")
    return bench.count(names[0]), bench.count(names[1])


def test_in_a_full_table_the_longest_idle_gives_way(bench: Bench) -> None:
    """The newcomer is served, whoever it is; the other stays."""
    first, second = bench.open(MINE), bench.open(OTHER, NOW + 1_000_000_000)
    third = bench.open("203.0.113.11", NOW + 2_000_000_000)
    assert (is_closed(first), is_closed(second), counts(bench)) == (True, False, (1, 0))
    third.send(PRICE)
    bench.serve(0)
    assert read_all(third).startswith(b"HTTP/1.1 200 OK")


def test_who_never_asked_gives_way_before_a_kept_connection(bench: Bench) -> None:
    """Ten seconds are given to the first request and 75 to the next one: the share that is left decides."""
    kept = bench.open(MINE)
    kept.send(PRICE)
    bench.serve(0)
    read_all(kept)
    silent = bench.open(OTHER, NOW + 3 * NS_PER_SECOND)
    bench.open("203.0.113.11", NOW + 5 * NS_PER_SECOND)  # 70 of 75 s are left to one, 8 of 10 s to the other
    assert (is_closed(kept), is_closed(silent)) == (False, True)


def test_at_its_bound_an_address_gives_way_to_itself_alone(bench: Bench) -> None:
    """Its oldest connection goes although there is room, and nobody else's."""
    bench.at.state[OF_ADDRESS_MAX] = 1
    other = bench.open(OTHER)
    first = bench.open(MINE, NOW + NS_PER_SECOND)
    second = bench.open(MINE, NOW + 2 * NS_PER_SECOND)
    assert (is_closed(other), is_closed(first), is_closed(second), counts(bench)) == (False, True, False, (1, 0))


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("203.0.113.9", "::ffff:203.0.113.9", True),
        ("203.0.113.9", "203.0.113.10", False),
        ("::1", "::2", False),
        ("10.0.0.1", "10.0.0.1", False),
    ],
)
def test_an_address_is_one_ipv4_address_or_a_64_and_a_proxy_is_none(
    bench: Bench, one: str, two: str, same: bool
) -> None:
    """Whoever has a /64 has all its addresses; behind a trusted proxy stand many."""
    bench.at.state[OF_ADDRESS_MAX] = 1
    first, second = bench.open(one), bench.open(two)
    assert (is_closed(first), is_closed(second)) == (same, False)


@pytest.mark.parametrize("busy", ["ready", "stalled"])
def test_who_has_work_stays(bench: Bench, busy: str) -> None:
    """A request that is being answered is never cut off: without anybody else the newcomer is refused."""
    first, second = bench.open(MINE), bench.open(MINE)
    for slot in range(2):
        if busy == "ready":
            push_ready(bench.at, slot)
        else:
            bench.at.table[slot, PHASE] = STALLED
    refused = bench.open(OTHER)
    assert read_all(refused).startswith(b"HTTP/1.1 503 ")
    assert (is_closed(first), is_closed(second), counts(bench)) == (False, False, (0, 1))
    if busy == "stalled":
        bench.at.table[:, PHASE] = 0  # its memory was never taken
    bench.serve_ready()


def test_a_flood_of_one_address_leaves_the_other_half(bench: Bench) -> None:
    """Ten thousand silent connections: the place of another address is free all the time, and nobody is refused."""
    bench.at.state[OF_ADDRESS_MAX] = 1
    for turn in range(10_000):
        bench.open(MINE, NOW + turn)
        assert bench.at.state[FREE_COUNT] == 1
        bench.clients.pop().close()
    assert counts(bench) == (9_999, 0)
