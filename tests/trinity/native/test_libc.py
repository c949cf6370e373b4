"""System calls from compiled code, on real descriptors."""

import contextlib
import errno
import os
import select
import socket
import time
from collections.abc import Iterator

import numpy as np
import pytest

from trinity.compiled import jit_enabled
from trinity.native import libc
from trinity.native.addresses import address_words, read_sockaddr
from trinity.net.datagram_filter import attach_filter

pytestmark = pytest.mark.skipif(not jit_enabled(), reason="system calls exist only compiled")


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two connected sockets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_the_clocks_are_the_machines() -> None:
    """Both clocks read between two readings of Python's."""
    timespec = np.zeros(2, dtype=np.int64)
    before, wall_before = time.monotonic_ns(), time.time_ns()
    now, wall = libc.read_clock(libc.MONOTONIC, timespec), libc.read_clock(libc.REALTIME, timespec)
    assert before <= now <= time.monotonic_ns()
    assert wall_before <= wall <= time.time_ns()


def test_bytes_go_out_and_come_in_where_they_belong(pair: tuple[socket.socket, socket.socket]) -> None:
    """send and receive use exactly the range that they are given."""
    ours, theirs = pair
    buffer = np.frombuffer(b"0123456789", dtype=np.uint8).copy()
    assert libc.send(ours.fileno(), buffer, 2, 3) == 3
    assert theirs.recv(10) == b"234"
    theirs.send(b"ab")
    assert libc.receive(ours.fileno(), buffer, 8, 2) == 2
    assert bytes(buffer) == b"01234567ab"


def test_a_failed_call_returns_the_negative_errno(pair: tuple[socket.socket, socket.socket]) -> None:
    """Nothing to read, a closed peer, a bad descriptor and no descriptors left are told apart."""
    ours, theirs = pair
    buffer = np.zeros(4, dtype=np.uint8)
    assert libc.receive(ours.fileno(), buffer, 0, 4) == -errno.EAGAIN
    theirs.close()
    assert libc.receive(ours.fileno(), buffer, 0, 4) == 0
    assert libc.send(ours.fileno(), buffer, 0, 4) == -errno.EPIPE
    assert libc.close(10**6) == -errno.EBADF
    assert [libc.is_exhausted(-code) for code in (errno.EMFILE, errno.ENFILE, errno.EAGAIN)] == [True, True, False]


@pytest.mark.parametrize(("at", "length"), [(0, 5), (4, 1), (-1, 1), (0, -1), (2**62, 2**62)])
def test_a_range_outside_of_the_buffer_never_reaches_the_kernel(
    pair: tuple[socket.socket, socket.socket], at: int, length: int
) -> None:
    """send and receive raise IndexError first."""
    buffer = np.zeros(4, dtype=np.uint8)
    with pytest.raises(IndexError):
        libc.send(pair[0].fileno(), buffer, at, length)
    with pytest.raises(IndexError):
        libc.receive(pair[0].fileno(), buffer, at, length)


def test_events_carry_their_tags(pair: tuple[socket.socket, socket.socket]) -> None:
    """What was registered with a tag is reported with it; a removed descriptor is not reported."""
    ours, theirs = pair
    events = np.zeros(4 * libc.EVENT_WORDS, dtype=np.uint32)
    event = np.zeros(libc.EVENT_WORDS, dtype=np.uint32)
    with select.epoll() as epoll:
        assert libc.control_events(epoll.fileno(), libc.EPOLL_ADD, ours.fileno(), libc.EPOLLIN, 4711, event) == 0
        assert libc.wait_events(epoll.fileno(), events, 4, 0) == 0
        theirs.send(b"x")
        assert libc.wait_events(epoll.fileno(), events, 4, 0) == 1
        assert (libc.event_tag(events, 0), libc.event_bits(events, 0)) == (4711, libc.EPOLLIN)
        libc.control_events(epoll.fileno(), libc.EPOLL_DELETE, ours.fileno(), 0, 0, event)
        assert libc.wait_events(epoll.fileno(), events, 4, 0) == 0
        with pytest.raises(IndexError):
            libc.wait_events(epoll.fileno(), events, 5, 0)


def test_connections_are_accepted_without_blocking() -> None:
    """accept gives a descriptor that does not block, and says EAGAIN when nobody waits."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        sockaddr, peer = libc.make_sockaddr(), np.zeros(2, dtype=np.uint64)
        assert libc.accept(listener.fileno(), sockaddr) == -errno.EAGAIN
        with socket.create_connection(listener.getsockname()):
            fd = libc.accept(listener.fileno(), sockaddr)
            read_sockaddr(sockaddr, 0, peer, 0)
            assert peer.tolist() == address_words("127.0.0.1").tolist()
            with pytest.raises(IndexError):
                libc.accept(listener.fileno(), sockaddr[:4])
            assert fd >= 0
            assert not os.get_blocking(fd)
            assert libc.shut_output(fd) == 0
            assert libc.close(fd) == 0


def test_an_eventfd_is_emptied_by_reading() -> None:
    """read_words takes what an eventfd holds, so that it is no longer readable."""
    fd = os.eventfd(3, os.EFD_NONBLOCK)
    scratch = np.zeros(16, dtype=np.uint8)
    assert libc.read_words(fd, scratch) == 8
    assert scratch[0] == 3
    assert libc.read_words(fd, scratch) == -errno.EAGAIN
    os.close(fd)


def test_what_a_socket_dropped_is_told() -> None:
    """What found no room in the queue, and what the filter threw away; a descriptor that is no socket says so."""
    scratch = np.zeros(libc.MEMINFO_WORDS, dtype=np.uint32)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8_192)
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        attach_filter(server, 100, b"abcd")
        client.connect(server.getsockname())
        assert libc.dropped_datagrams(server.fileno(), scratch) == 0
        client.send(b"")
        client.send(bytes(101))
        assert libc.dropped_datagrams(server.fileno(), scratch) == 2
        for _ in range(1_000):
            client.send(bytes(100))
        kept = 0
        with contextlib.suppress(BlockingIOError):
            while server.recv(200):
                kept += 1
        assert 0 < kept < 1_000
        assert libc.dropped_datagrams(server.fileno(), scratch) == 2 + 1_000 - kept
    with open(os.devnull) as file:
        assert libc.dropped_datagrams(file.fileno(), scratch) == -errno.ENOTSOCK
