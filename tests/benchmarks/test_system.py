"""The system calls of the compiled loops, against Python's own."""

import select
import socket

import numpy as np

from benchmarks import system
from trinity.clock import SystemClock
from trinity.compiled import compiled


@compiled
def _echo_batch(fd: int, epoll_fd: int, events: np.ndarray, received: system.Words, iovecs: system.Words) -> int:
    """Wait, take one batch and send it back to where it came from."""
    system.epoll_wait(epoll_fd, events.ctypes.data, 1, 5_000)
    count = system.recvmmsg(fd, received.ctypes.data, received.shape[0], system.MSG_DONTWAIT, np.uintp(0))
    for k in range(count):
        iovecs[k, 1] = received[k, system.LENGTH] & np.uint64(0xFFFFFFFF)
    system.sendmmsg(fd, received.ctypes.data, count, 0)
    return np.int64(events[system.EVENT_FD_WORD32])


def test_the_clock_is_the_one_that_python_reads() -> None:
    """Our monotonic time lies between two readings of Python's."""
    clock = SystemClock()
    before = clock.monotonic_ns()
    ours = system.monotonic_ns()
    assert before <= ours <= clock.monotonic_ns()
    system.sleep_ns(2_000_000)
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
        events = np.zeros(system.EVENT_WORDS32, dtype=np.uint32)
        ready = _echo_batch(server.fileno(), epoll.fileno(), events, batch.headers, batch.iovecs)
        assert ready == server.fileno()
        assert first.recv(100) == b"one"
        assert second.recv(100) == b"three"
