"""Thousands of clients of a stream in one process, compiled: it must leave the processor to what is measured.

Rules: an event's lag is the moment at which its last byte was there minus its `timestamp`, both in whole milliseconds
of this machine's clock; lags of MS_MAX and more count as MS_MAX. A client has a histogram of its own. Events may come
in any pieces: what is not whole yet is kept.
"""

import select
import socket
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import PeerError
from benchmarks.generators import system
from benchmarks.generators.checks import Bytes, Ints
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.compiled import compiled
from trinity.native import libc
from trinity.native.octets import append_slice

Lags = NDArray[np.int32]  # of each client: how many events were so many ms late

MS_MAX = 4_095
_NAME = np.frombuffer(b'"timestamp":', dtype=np.uint8)
# How far the name can be moved on when this letter stands under its last one (Horspool).
_SKIPS = np.full(256, _NAME.size, dtype=np.int64)
_SKIPS[_NAME[:-1]] = np.arange(_NAME.size - 1, 0, -1)
_NEWLINE, _ZERO, _NINE = ord("\n"), ord("0"), ord("9")
# An event that has not come whole waits for its rest; the longest is some 400 bytes.
_TAIL_BYTES_MAX = 4_096
_TOO_LONG = -1_000

_EVENTS_AT_ONCE = 256
_READ_BYTES = 1 << 16
_WAIT_MS = 100
_TIMEOUT_SECONDS = 60.0
# An address may have 1,024 streams; so many clients at once wait for their first bytes.
_CLIENTS_OF_ADDRESS = 1_000
_CONNECTING = 100


class _Clients(NamedTuple):
    """What the compiled loop knows of all clients: by descriptor whose it is, and by client the rest."""

    of_fd: Ints
    tails: NDArray[np.uint8]
    tail_sizes: Ints
    lags: Lags


class StreamReaders:
    """Clients that have all asked, and heard the first of their streams."""

    def __init__(self, port: int, request: bytes, count: int) -> None:
        self.lags: Lags = np.zeros((count, MS_MAX + 1), dtype=np.int32)
        self._tails = np.zeros((count, _TAIL_BYTES_MAX), dtype=np.uint8)
        self._tail_sizes: Ints = np.zeros(count, dtype=np.int64)
        self._poller = select.epoll()
        self._sockets: list[socket.socket] = []
        self._of_fd: Ints = np.zeros(1, dtype=np.int64)
        self.run(0)  # compiled now: later they would wait for it
        try:
            for first in range(0, count, _CONNECTING):
                self._connect(port, request, range(first, min(count, first + _CONNECTING)))
        except (OSError, PeerError):
            self.close()
            raise
        fds = [connected.fileno() for connected in self._sockets]
        self._of_fd = np.full(max(fds) + 1, -1, dtype=np.int64)
        self._of_fd[fds] = np.arange(count)

    def run(self, seconds: float) -> int:
        """Read for so long; how many bytes that were. What was counted before is forgotten."""
        self.lags[:] = 0
        events = np.zeros(_EVENTS_AT_ONCE * libc.EVENT_WORDS, dtype=np.uint32)
        buffer = np.zeros(_TAIL_BYTES_MAX + _READ_BYTES, dtype=np.uint8)
        clients = _Clients(self._of_fd, self._tails, self._tail_sizes, self.lags)
        duration_ns = int(seconds * NS_PER_SECOND)
        read = _read(self._poller.fileno(), clients, events, buffer, system.make_timespec(), duration_ns)
        if read < 0:
            raise PeerError("stream", f"a client's stream ended, or broke ({-read})")
        return read

    def close(self) -> None:
        for connected in self._sockets:
            connected.close()
        self._poller.close()

    def _connect(self, port: int, request: bytes, numbers: Sequence[int]) -> None:
        """Connect these and let each of them hear something: the service is not stormed."""
        for number in numbers:
            source = (f"127.0.0.{2 + number // _CLIENTS_OF_ADDRESS}", 0)
            connected = socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS, source)
            connected.sendall(request)
            self._sockets.append(connected)
        for number in numbers:
            connected = self._sockets[number]
            first = connected.recv(_READ_BYTES)
            if b" 200 " not in first.partition(b"\r\n")[0]:
                raise PeerError("stream", f"it was refused: {first[:200]!r}")
            connected.setblocking(False)
            self._poller.register(connected.fileno(), select.EPOLLIN)


@compiled
def _read(
    epoll_fd: int, clients: _Clients, events: NDArray[np.uint32], buffer: Bytes, timespec: Ints, duration_ns: int
) -> int:
    """Bytes that all clients read within the time; a negative number when a stream ended."""
    stop_ns = system.monotonic_ns(timespec) + duration_ns
    total = 0
    while system.monotonic_ns(timespec) < stop_ns:
        ready = libc.wait_events(epoll_fd, events, _EVENTS_AT_ONCE, _WAIT_MS)
        for which in range(max(0, ready)):
            fd = libc.event_tag(events, which)
            client = clients.of_fd[fd]
            tail = clients.tail_sizes[client]
            got = libc.receive(fd, buffer, tail, _READ_BYTES)
            if got == -libc.EAGAIN:
                continue
            if got <= 0:
                return got - 1
            total += got
            now_ms = libc.read_clock(libc.REALTIME, timespec) // NS_PER_MS
            append_slice(clients.tails[client], 0, tail, buffer, 0)
            end = note(buffer, tail + got, clients.lags[client], now_ms)
            left = tail + got - end
            if left > _TAIL_BYTES_MAX:
                return _TOO_LONG
            append_slice(buffer, end, left, clients.tails[client], 0)
            clients.tail_sizes[client] = left
    return total


@compiled
def note(buffer: Bytes, size: int, lags: Lags, now_ms: int) -> int:
    """Count the lags of the events that buffer[:size] holds whole, at `now_ms`; where what is left begins."""
    end = size
    while end >= 2 and not (buffer[end - 1] == _NEWLINE and buffer[end - 2] == _NEWLINE):
        end -= 1
    if end < 2:
        return 0
    last = _NAME.size - 1
    at = last
    while at < end:
        back = 0
        while back <= last and buffer[at - back] == _NAME[last - back]:
            back += 1
        if back <= last:
            at += _SKIPS[buffer[at]]
            continue
        at += 1
        stamp = 0
        while at < end and _ZERO <= buffer[at] <= _NINE:
            stamp = stamp * 10 + int(buffer[at]) - _ZERO
            at += 1
        lags[min(max(now_ms - stamp, 0), MS_MAX)] += 1
        at += last
    return end
