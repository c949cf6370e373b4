"""The system calls of the compiled loops, against Python's own."""

import select
import socket

import numpy as np

from benchmarks.generators import system
from trinity.clock import SystemClock
from trinity.compiled import compiled
from trinity.native import libc


@compiled
def _echo_batch(fd: int, epoll_fd: int, events: libc.Events, received: libc.Words, iovecs: libc.Words) -> int:
    """Wait, take one batch and send it back to where it came from; returns the descriptor that was ready."""
    libc.wait_events(epoll_fd, events, 1, 5_000)
    count = libc.receive_many(fd, received, received.size // libc.MESSAGE_WORDS)
    for k in range(count):
        iovecs[k, 1] = np.uint64(libc.message_length(received, k))
    libc.send_many(fd, received, 0, count)
    return libc.event_tag(events, 0)


def test_the_clock_is_the_one_that_python_reads() -> None:
    """Our monotonic time lies between two readings of Python's."""
    clock = SystemClock()
    timespec = system.make_timespec()
    before = clock.monotonic_ns()
    ours = system.monotonic_ns(timespec)
    assert before <= ours <= clock.monotonic_ns()
    system.sleep_ns(2_000_000, timespec)
    assert clock.monotonic_ns() - ours >= 2_000_000


def test_a_batch_of_datagrams_goes_back_to_its_senders() -> None:
    """recvmmsg and sendmmsg fill and use addresses, lengths and bytes as the kernel does; epoll names the socket."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as first,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as second,
        select.epoll() as epoll,
    ):
        server.bind(("127.0.0.1", 0))
        epoll.register(server.fileno(), select.EPOLLIN)
        for client, text in ((first, b"one"), (second, b"three")):
            client.settimeout(5)
            client.connect(server.getsockname())
            client.send(text)
        batch = system.Datagrams(8, 100, with_names=True)
        events = np.zeros(libc.EVENT_WORDS, dtype=np.uint32)
        ready = _echo_batch(server.fileno(), epoll.fileno(), events, batch.headers, batch.iovecs)
        assert ready == server.fileno()
        assert first.recv(100) == b"one"
        assert second.recv(100) == b"three"
