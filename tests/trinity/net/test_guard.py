"""Connections judged as pure values, and real ones that are shut beside their server."""

import contextlib
import os
import resource
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.limits import HEAD_MAX_NS, IDLE_MAX_NS
from trinity.net import guard as guard_module
from trinity.net.guard import ConnectionBounds, Guard, Idle, Seen, judge, network_of, queued
from trinity.net.ports import bind_socket

NOW = 10**18
ROOMY = ConnectionBounds(most=100, of_address=100)
SECOND = 1_000_000_000


def idle(inode: int, seconds: float, asked: bool = False, network: str = "192.0.2.1", spared: bool = False) -> Idle:
    since_ns = NOW - round(seconds * SECOND)
    return Idle(inode, Seen((network, inode), network, spared, since_ns), since_ns, asked)


def test_a_first_request_and_the_next_one_are_due() -> None:
    """Ten seconds for the first, 75 for another."""
    limits = (HEAD_MAX_NS / SECOND, IDLE_MAX_NS / SECOND)
    found = [idle(1, limits[0]), idle(2, limits[0] - 0.1), idle(3, limits[1], True), idle(4, limits[1] - 0.1, True)]
    assert judge(found, ROOMY, NOW) == {1, 3}


def test_an_address_at_its_bound_gives_way_to_itself() -> None:
    """The longest idle of it; another's, idle for longer, stays; a proxy has no bound."""
    bounds = ConnectionBounds(most=100, of_address=2)
    mine = [idle(number, number) for number in range(1, 6)]
    assert judge([*mine, idle(9, 9, network="192.0.2.2")], bounds, NOW) == {3, 4, 5}
    assert judge([idle(number, number, spared=True) for number in range(1, 6)], bounds, NOW) == set()


def test_of_all_who_never_asked_gives_way_before_a_kept_connection() -> None:
    """By the share of their time that is left."""
    found = [idle(1, 30, True, "192.0.2.1"), idle(2, 8, False, "192.0.2.2"), idle(3, 0.1, False, "192.0.2.3")]
    assert judge(found, ConnectionBounds(most=2, of_address=2), NOW) == {2}


@given(
    st.lists(st.tuples(st.floats(0, 100), st.booleans(), st.sampled_from("abc"), st.booleans()), max_size=40),
    st.integers(1, 10),
    st.integers(1, 10),
)
def test_whoever_stays_is_in_time_and_within_the_bounds(
    drawn: list[tuple[float, bool, str, bool]], most: int, of_address: int
) -> None:
    """Nobody is shut while there is room for them."""
    found = [idle(number, *one) for number, one in enumerate(drawn)]
    going = judge(found, ConnectionBounds(most, of_address), NOW)
    staying = [one for one in found if one.inode not in going]
    assert len(staying) <= most
    for network in "abc":
        of_it = [one for one in staying if one.seen.network == network and not one.seen.is_spared]
        assert len(of_it) <= of_address
    for one in found:
        limit_ns = IDLE_MAX_NS if one.has_asked else HEAD_MAX_NS
        in_time = NOW - one.since_ns < limit_ns
        assert in_time or one.inode in going
        if in_time and len(found) <= min(most, of_address):
            assert one.inode not in going


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::1"),
    ],
)
def test_an_address_is_one_ipv4_address_or_a_64(host: str, network: str) -> None:
    """However the kernel writes it."""
    assert network_of(host) == network


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with bind_socket("::", 0, socket.SOCK_STREAM) as bound:
        bound.setblocking(True)
        bound.listen(8)
        yield bound


def is_shut(client: socket.socket) -> bool:
    client.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        return client.recv(1) == b""
    return False


def test_real_connections_are_shut_by_their_age_and_calls_keep_them(listener: socket.socket) -> None:
    """Over IPv4 and IPv6 to one listener; a socket that is no connection to it is left alone."""
    port = listener.getsockname()[1]
    guard = Guard(ROOMY)
    with contextlib.ExitStack() as held:
        silent, calling, asked = (
            held.enter_context(socket.create_connection((host, port))) for host in ("127.0.0.1", "::1", "127.0.0.1")
        )
        ends = [held.enter_context(listener.accept()[0]) for _ in range(3)]
        pair = socket.socketpair()
        held.enter_context(pair[0])
        held.enter_context(pair[1])
        peers = {end.getpeername()[1]: end.getpeername()[:2] for end in ends}
        assert guard.look({port}, NOW) == 0
        with guard.call(peers[calling.getsockname()[1]], lambda: NOW):
            with guard.call(peers[asked.getsockname()[1]], lambda: NOW + SECOND):
                pass
            assert guard.look({port}, NOW + HEAD_MAX_NS) == 1
            assert [is_shut(client) for client in (silent, calling, asked)] == [True, False, False]
            ends[0].close()
            assert guard.look({port}, NOW + SECOND + IDLE_MAX_NS) == 1
            assert [is_shut(client) for client in (calling, asked)] == [False, True]
        assert not is_shut(pair[0])


def test_a_flood_is_met_and_shut_in_bounded_looks(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look does its share and says that there is more; in the end only the bound of the address stays."""
    monkeypatch.setattr(guard_module, "_MET_MAX", 3)
    monkeypatch.setattr(guard_module, "_SHUT_MAX", 2)
    port = listener.getsockname()[1]
    guard = Guard(ConnectionBounds(most=4, of_address=2))
    with contextlib.ExitStack() as held:
        for _ in range(8):
            held.enter_context(socket.create_connection(("127.0.0.1", port)))
        ends = {held.enter_context(listener.accept()[0]) for _ in range(8)}
        looks = 0
        while guard.look({port}, NOW) or guard.is_behind:
            looks += 1
            assert looks < 30
            for end in [end for end in ends if is_shut(end)]:
                end.close()
                ends.remove(end)
        assert len(ends) == 2
        assert looks >= 3


def take_all_descriptors(held: contextlib.ExitStack) -> None:
    """Until there is no other."""
    with contextlib.suppress(OSError):
        while True:
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY))
    with pytest.raises(OSError, match="Too many open files"):
        os.open(os.devnull, os.O_RDONLY)


def test_a_process_without_a_free_descriptor_still_shuts(listener: socket.socket) -> None:
    """A flood may take them all: the guard kept some back, and fails in no case."""
    port = listener.getsockname()[1]
    guard = Guard(ROOMY)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as held:
        client = held.enter_context(socket.create_connection(("127.0.0.1", port)))
        end = held.enter_context(listener.accept()[0])
        assert guard.look({port}, NOW) == 0
        resource.setrlimit(resource.RLIMIT_NOFILE, (end.fileno() + 20, hard))
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        take_all_descriptors(held)
        assert guard.look({port}, NOW + HEAD_MAX_NS) == 1
        assert is_shut(client)


def test_without_any_descriptor_a_look_is_put_off(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing kept back either: it says that it is behind, and raises nothing."""
    monkeypatch.setattr(guard_module, "_RESERVE", 0)
    guard = Guard(ROOMY)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as held:
        resource.setrlimit(resource.RLIMIT_NOFILE, (listener.fileno() + 20, hard))
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        take_all_descriptors(held)
        assert guard.look({listener.getsockname()[1]}, NOW) == 0
        assert guard.is_behind


def test_a_listener_says_how_many_wait(listener: socket.socket) -> None:
    """None, then those whom nobody has accepted."""
    port = listener.getsockname()[1]
    assert queued(listener) == 0
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    assert queued(listener) == 3
    listener.accept()[0].close()
    assert queued(listener) == 2
    for client in clients:
        client.close()
