"""Thousands of clients of a stream in one process: what they read is looked at once, byte by byte, compiled.

Rules: an event's lag is the moment at which its last byte was there minus its `timestamp`, both in whole milliseconds
of this machine's clock; lags of MS_MAX and more count as MS_MAX. A client has a histogram of its own. Nothing is kept
of a stream but the place in an event, so events may come in any pieces.
"""

import select
import socket
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks import system
from benchmarks.checks import Bytes, Ints
from benchmarks.errors import PeerError
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.compiled import compiled
from trinity.native import libc

Lags = NDArray[np.int32]  # of each client: how many events were so many ms late

MS_MAX = 4_095
# Where a client is in its stream: letters of the name that have been there, the number so far (-1: none is being read),
# the stamp of this event (-1: none yet), and whether the last byte ended a line.
_MATCHED, _NUMBER, _STAMP, _LINE_ENDED = range(4)
_STATE_WORDS = 4
_NAME = np.frombuffer(b'"timestamp":', dtype=np.uint8)
_QUOTE, _NEWLINE, _ZERO, _NINE = ord('"'), ord("\n"), ord("0"), ord("9")

_EVENTS_AT_ONCE = 256
_READ_BYTES = 1 << 16
_WAIT_MS = 100
_TIMEOUT_SECONDS = 60.0
# An address may have 1,024 streams; so many clients at once wait for their first bytes.
_CLIENTS_OF_ADDRESS = 1_000
_CONNECTING = 100


class StreamReaders:
    """Clients that have all asked, and heard the first of their streams."""

    def __init__(self, port: int, request: bytes, count: int) -> None:
        self.lags: Lags = np.zeros((count, MS_MAX + 1), dtype=np.int32)
        self._state: Ints = np.zeros((count, _STATE_WORDS), dtype=np.int64)
        self._state[:, [_NUMBER, _STAMP]] = -1
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
        buffer = np.zeros(_READ_BYTES, dtype=np.uint8)
        timespec = system.make_timespec()
        duration_ns = int(seconds * NS_PER_SECOND)
        read = _read(self._poller.fileno(), self._of_fd, self._state, self.lags, events, buffer, timespec, duration_ns)
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
    epoll_fd: int,
    of_fd: Ints,
    state: Ints,
    lags: Lags,
    events: NDArray[np.uint32],
    buffer: Bytes,
    timespec: Ints,
    duration_ns: int,
) -> int:
    """Bytes that all clients read within the time; a negative number when a stream ended."""
    stop_ns = system.monotonic_ns(timespec) + duration_ns
    total = 0
    while system.monotonic_ns(timespec) < stop_ns:
        ready = libc.wait_events(epoll_fd, events, _EVENTS_AT_ONCE, _WAIT_MS)
        for which in range(max(0, ready)):
            fd = libc.event_tag(events, which)
            got = libc.receive(fd, buffer, 0, buffer.size)
            if got == -libc.EAGAIN:
                continue
            if got <= 0:
                return got - 1
            total += got
            client = of_fd[fd]
            follow(buffer, got, state[client], lags[client], libc.read_clock(libc.REALTIME, timespec) // NS_PER_MS)
    return total


@compiled
def follow(buffer: Bytes, size: int, state: Ints, lags: Lags, now_ms: int) -> None:
    """Go on in a client's stream by buffer[:size], all of which was there at `now_ms`."""
    matched, number, stamp, line_ended = state[_MATCHED], state[_NUMBER], state[_STAMP], state[_LINE_ENDED]
    for at in range(size):
        byte = np.int64(buffer[at])
        if number >= 0:
            if _ZERO <= byte <= _NINE:
                number = number * 10 + byte - _ZERO
                continue
            stamp, number = number, np.int64(-1)
        if byte == _NEWLINE:
            if line_ended and stamp >= 0:
                lags[min(max(now_ms - stamp, 0), MS_MAX)] += 1
                stamp = np.int64(-1)
            line_ended, matched = np.int64(1), np.int64(0)
            continue
        line_ended = np.int64(0)
        if byte == _NAME[matched]:
            matched += 1
            if matched == _NAME.size:
                matched, number = np.int64(0), np.int64(0)
        else:
            matched = np.int64(byte == _QUOTE)
    state[_MATCHED], state[_NUMBER], state[_STAMP], state[_LINE_ENDED] = matched, number, stamp, line_ended
