"""Open load over many kept-alive connections: requests fall due at a fixed rate and are sent then, whatever happens.

Unlike the open loop of http.py there is no bound on what a connection has in flight: that would hold requests back and
turn an overload into a closed loop. The n-th answer of a connection belongs to its n-th request, so each answer is
timed from when its request was due. It asks HEAD, so that an answer is its head, whatever the server had to do for it:
what is measured is the server, and three times what it can do must be less than what one generator can.

Rules: one thread, on a core of its own. A connection that does not take a whole request, or that the server closes, is
over: what it owed is broken, and what would fall due on it is offered and never answered.
"""

import os
import select
import socket
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.generators import system
from benchmarks.generators.checks import Bytes, Ints
from benchmarks.generators.histogram import Counts, Latencies, record
from trinity.clock import NS_PER_SECOND
from trinity.compiled import compiled
from trinity.native import libc

# Some heads that arrive together.
BUFFER_BYTES = 16 * 1024
_EVENTS_MAX = 512
_SENDS_MAX = 256  # between two looks at the answers
# Requests that a connection sends in one write, all due at that moment: a send for each is more than one core does.
GROUP = 4
# Words of the counters.
DUE, RECEIVED, GOOD, IN_TIME, REFUSED, OTHER, BROKEN, LATEST_SEND_NS, _COUNTER_WORDS = range(9)
# Columns of a connection.
_FD, _FILL, _SENT, _ANSWERED, _COLUMNS = range(5)


class OpenOutcome(NamedTuple):
    """What came of the requests that were due in the measured part of a run; rates are a second of it."""

    offered: float
    received: float  # good answers that came in this time, whenever their requests were due
    good: float
    in_time: float  # of them, those whose answer came within the deadline
    refused: float
    unanswered: float  # or answered after the end of the run
    other: int
    broken: int
    latest_send_ms: float  # how late the generator itself was: more than a moment means that it was the bottleneck
    latency_us: dict[str, float]  # of good answers
    refusal_us: dict[str, float]


class OpenGenerator:
    """Connections to one server; `run` may be called any number of times until `close`."""

    def __init__(self, host: str, port: int, target: str, connections: int) -> None:
        """Connect all; OSError when the server refuses."""
        request = f"HEAD {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._request = np.frombuffer(request * GROUP, dtype=np.uint8).copy()
        self._table = np.zeros((connections, _COLUMNS), dtype=np.int64)
        self._buffers = np.zeros((connections, BUFFER_BYTES), dtype=np.uint8)
        self._epoll = select.epoll()
        self._fds: list[int] = []
        for i in range(connections):
            connection = socket.create_connection((host, port), timeout=10)
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._table[i, _FD] = fd = connection.detach()
            self._fds.append(fd)
            self._epoll.register(fd, select.EPOLLIN)
        self._index_of_fd = np.zeros(max(self._fds) + 1, dtype=np.int64)
        self._index_of_fd[self._fds] = np.arange(connections)

    def run(self, rate: float, warm_seconds: float, seconds: float, deadline_seconds: float) -> OpenOutcome:
        """Offer `rate` requests a second; what was due in the first `warm_seconds` is not counted."""
        counters = np.zeros(_COUNTER_WORDS, dtype=np.int64)
        good, refused = Latencies(), Latencies()
        self._table[:, [_FILL, _SENT, _ANSWERED]] = 0
        _drive(
            self._epoll.fileno(),
            np.zeros(_EVENTS_MAX * libc.EVENT_WORDS, dtype=np.uint32),
            self._index_of_fd,
            self._table,
            self._buffers,
            self._request,
            system.make_timespec(),
            rate / GROUP,
            int(warm_seconds * NS_PER_SECOND),
            int((warm_seconds + seconds) * NS_PER_SECOND),
            int(deadline_seconds * NS_PER_SECOND),
            counters,
            good.counts,
            refused.counts,
        )
        found: dict[str, Any] = {
            "offered": counters[DUE] / seconds,
            "received": counters[RECEIVED] / seconds,
            "good": counters[GOOD] / seconds,
            "in_time": counters[IN_TIME] / seconds,
            "refused": counters[REFUSED] / seconds,
            "unanswered": (counters[DUE] - counters[GOOD] - counters[REFUSED]) / seconds,
        }
        rounded = {name: round(float(value), 1) for name, value in found.items()}
        return OpenOutcome(
            **rounded,
            other=int(counters[OTHER]),
            broken=int(counters[BROKEN]),
            latest_send_ms=round(float(counters[LATEST_SEND_NS]) / 1e6, 1),
            latency_us=good.summary_us(),
            refusal_us=refused.summary_us(),
        )

    def close(self) -> None:
        self._epoll.close()
        for fd in self._table[:, _FD]:
            if fd >= 0:
                os.close(int(fd))


@compiled
def _drive(
    epoll_fd: int,
    events: NDArray[np.uint32],
    index_of_fd: Ints,
    table: Ints,
    buffers: Bytes,
    request: Bytes,
    timespec: Ints,
    rate: float,
    warm_ns: int,
    run_ns: int,
    deadline_ns: int,
    counters: Ints,
    good: Counts,
    refused: Counts,
) -> None:
    """The loop of one run."""
    start_ns = system.monotonic_ns(timespec)
    count, due = table.shape[0], 0
    first_counted = np.int64(warm_ns * rate / 1e9)
    while True:
        now_ns = system.monotonic_ns(timespec)
        if now_ns - start_ns >= run_ns:
            break
        due_by_now = np.int64((now_ns - start_ns) * rate / 1e9)
        sends = 0
        while due < due_by_now and sends < _SENDS_MAX:
            if due >= first_counted:
                counters[DUE] += GROUP
                late_ns = np.int64(now_ns - start_ns - due * 1e9 / rate)
                counters[LATEST_SEND_NS] = max(counters[LATEST_SEND_NS], late_ns)
            i = due % count
            due += 1
            if table[i, _FD] >= 0:
                table[i, _SENT] += GROUP
                sends += 1
                if libc.send(table[i, _FD], request, 0, request.size) != request.size:
                    _break(table, i, counters)
        ready = libc.wait_events(epoll_fd, events, _EVENTS_MAX, 0)
        for event in range(ready):
            i = index_of_fd[libc.event_tag(events, event)]
            _receive(table, i, buffers[i], timespec, start_ns, rate, warm_ns, deadline_ns, counters, good, refused)


@compiled
def _receive(
    table: Ints,
    i: int,
    buffer: Bytes,
    timespec: Ints,
    start_ns: int,
    rate: float,
    warm_ns: int,
    deadline_ns: int,
    counters: Ints,
    good: Counts,
    refused: Counts,
) -> None:
    """Take what one connection received, and time each answer that is complete."""
    fill = table[i, _FILL]
    got = libc.receive(table[i, _FD], buffer, fill, buffer.size - fill)
    now_ns = system.monotonic_ns(timespec)
    if got <= 0:
        _break(table, i, counters)
        return
    start, end = 0, fill + got
    while start < end:
        stop = _head_end(buffer, start, end)
        if stop < 0:
            break
        status = buffer[start + 9] - 48  # of "HTTP/1.1 200"
        start = stop
        due_ns = np.int64((table[i, _ANSWERED] // GROUP * table.shape[0] + i) * 1e9 / rate)
        table[i, _ANSWERED] += 1
        counters[RECEIVED] += status == 2 and now_ns - start_ns >= warm_ns
        if due_ns < warm_ns:
            continue
        waited_ns = int(now_ns - start_ns - due_ns)
        if status == 2:
            counters[GOOD] += 1
            counters[IN_TIME] += waited_ns <= deadline_ns
            record(good, waited_ns)
        elif status == 5:
            counters[REFUSED] += 1
            record(refused, waited_ns)
        else:
            counters[OTHER] += 1
    for k in range(end - start if start > 0 else 0):
        buffer[k] = buffer[start + k]
    table[i, _FILL] = end - start


@compiled
def _head_end(buffer: Bytes, start: int, end: int) -> int:
    """Behind the empty line; -1 when it is not there yet."""
    for at in range(start + 3, end):
        if buffer[at] == 10 and buffer[at - 2] == 10 and buffer[at - 1] == 13:
            return at + 1
    return -1


@compiled
def _break(table: Ints, i: int, counters: Ints) -> None:
    """The connection is over; its further requests are offered and never answered."""
    if table[i, _FD] >= 0:
        libc.close(table[i, _FD])
        table[i, _FD] = -1
        counters[BROKEN] += table[i, _SENT] - table[i, _ANSWERED]
