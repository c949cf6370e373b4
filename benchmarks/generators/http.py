"""Load over kept-alive TCP connections: HTTP/1.1, and RESP for Valkey and Redis. One compiled epoll loop.

Rules: one thread, which the caller pins to a core that the server does not use. A connection holds at most
`pipelining` requests in flight and sends them in one write. The n-th answer of a connection belongs to its n-th
request, so a server that mixes up assets is caught. A connection that closes or sends what is no answer is given up
and its requests count as faults; the others go on.
"""

import contextlib
import os
import select
import socket
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.generators import checks, load, system
from benchmarks.generators.checks import Bytes, Ints
from benchmarks.generators.histogram import Counts, Latencies, record
from trinity.compiled import compiled
from trinity.native import libc

# Events taken at once, as many as the request workers take.
EVENTS_MAX = 256
PIPELINING_MAX = 64
# Room for an answer with its head: 256 + 640 bytes, and headers of foreign servers.
ANSWER_BYTES_MAX = 1_280
# Longest wait in the closed loop: only how late the end of a run is seen.
WAIT_MS = 50

CONNECTION_DTYPE = np.dtype(
    [
        ("fd", np.int64),  # -1 once closed
        ("fill", np.int64),  # bytes of unfinished answers in its buffer
        ("sent", np.int64),  # requests sent in this run
        ("answered", np.int64),  # answers received in this run; the n-th belongs to the n-th request
        ("first", np.int64),  # where in the circle of requests it begins
        ("due", np.int64),  # open loop: requests that have fallen due in this run, sent or not
        ("sent_at_ns", np.int64),  # closed loop: time of the last write
    ]
)
Connections = NDArray[np.void]
Batches = tuple[Bytes, Ints, int]
Known = tuple[Bytes, Ints, Bytes, Ints, Ints, Ints]
Scratch = tuple[Ints, Ints]  # where the last answer's parts lay, a timespec
Pace = tuple[float, float]  # start of the run (ns), requests a second (0: closed loop)


@dataclass(frozen=True)
class HttpTarget:
    """Where requests go and what they are: `requests[i]` asks for `assets[i]`, sent in turn.

    Each connection begins `stride` requests behind the one before, and comes from the next of `sources`, addresses of
    this machine, if any are named.
    """

    host: str
    port: int
    assets: list[str]
    requests: list[bytes]
    framing: int = checks.FRAMING_HTTP
    stride: int = 1
    sources: tuple[str, ...] = ()


def price_requests(assets: list[str]) -> list[bytes]:
    """`GET /price` of each asset, as short as HTTP/1.1 allows."""
    return [f"GET /price?asset={asset} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for asset in assets]


class HttpGenerator:
    """Connections to one server; `run` may be called any number of times until `close`."""

    def __init__(self, target: HttpTarget, connections: int, pipelining: int = 1) -> None:
        """Connect all; OSError when the server refuses."""
        assert 1 <= pipelining <= PIPELINING_MAX
        self.pipelining = pipelining
        self._framing = target.framing
        self._memory = checks.Memory(target.assets)
        self._batches = _batches(target.requests, pipelining)
        self._connections: Connections = np.zeros(connections, dtype=CONNECTION_DTYPE)
        self._buffers = np.zeros((connections, pipelining * ANSWER_BYTES_MAX), dtype=np.uint8)
        self._last_times = np.zeros((connections, len(target.assets)), dtype=np.int64)
        self._events = np.zeros(EVENTS_MAX * libc.EVENT_WORDS, dtype=np.uint32)
        self._frame = np.zeros(checks.FRAME_WORDS, dtype=np.int64)
        self._timespec = system.make_timespec()
        self._epoll = select.epoll()
        self._connections["fd"] = -1
        self._connections["first"] = np.arange(connections) * target.stride
        for i in range(connections):
            source = target.sources[i % len(target.sources)] if target.sources else ""
            self._connections[i]["fd"] = fd = _connect(target.host, target.port, source)
            self._epoll.register(fd, select.EPOLLIN)
        self._index_of_fd = np.full(max(int(self._connections["fd"].max()) + 1, 1), -1, dtype=np.int64)
        self._index_of_fd[self._connections["fd"]] = np.arange(connections)

    def run(self, wanted: load.Load) -> load.Outcome:
        """Make one run and wait for its last answers."""
        counters = np.zeros(load.COUNTER_WORDS, dtype=np.int64)
        latencies = Latencies()
        for name in ("sent", "answered", "due", "fill"):
            self._connections[name] = 0
        known = self._memory
        _drive(
            self._epoll.fileno(),
            self._events,
            self._index_of_fd,
            self._connections,
            self._buffers,
            self._batches,
            (known.names, known.name_lengths, known.bodies, known.lengths, known.times, self._last_times),
            self._framing,
            (self._frame, self._timespec),
            self.pipelining,
            int(wanted.seconds * 1e9),
            float(wanted.rate),
            counters,
            latencies.counts,
        )
        return load.outcome_of(counters, latencies)

    def close(self) -> None:
        self._epoll.close()
        for fd in self._connections["fd"]:
            with contextlib.suppress(OSError):
                os.close(int(fd))
        self._connections["fd"] = -1


def _connect(host: str, port: int, source: str) -> int:
    connection = socket.create_connection((host, port), timeout=10, source_address=(source, 0))
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection.detach()


def _batches(requests: list[bytes], pipelining: int) -> Batches:
    """All requests once around and then the first `pipelining - 1` again, so that any batch is one piece of bytes.

    Request i lies in [ends[i], ends[i + 1]); the last member is the length of the circle.
    """
    circle = [requests[i % len(requests)] for i in range(len(requests) + pipelining - 1)]
    ends = np.concatenate([[0], np.cumsum([len(request) for request in circle])]).astype(np.int64)
    return np.frombuffer(b"".join(circle), dtype=np.uint8).copy(), ends, len(requests)


@compiled
def _drive(
    epoll_fd: int,
    events: NDArray[np.uint32],
    index_of_fd: Ints,
    connections: Connections,
    buffers: Bytes,
    batches: Batches,
    known: Known,
    framing: int,
    scratch: Scratch,
    pipelining: int,
    duration_ns: int,
    rate: float,
    counters: Ints,
    latencies: Counts,
) -> None:
    """The loop of one run; see the module's docstring."""
    timespec = scratch[1]
    start_ns = system.monotonic_ns(timespec)
    stop_ns = start_ns + duration_ns
    counters[load.STARTED_NS] = start_ns
    pace = (np.float64(start_ns), rate)
    alive = 0
    for i in range(connections.size):
        if connections[i]["fd"] >= 0:
            alive += 1
            if rate == 0.0:
                _send(connections, i, pipelining, batches, counters, start_ns)
    while True:
        now_ns = system.monotonic_ns(timespec)
        sending = now_ns < stop_ns
        if rate > 0.0:
            _fall_due(connections, min(now_ns, stop_ns), pipelining, pace, batches, counters, now_ns)
        if now_ns >= stop_ns + load.DRAIN_NS or counters[load.CLOSED] == alive:
            break
        if not sending and load.in_flight(counters) == 0:
            break
        ready = libc.wait_events(epoll_fd, events, EVENTS_MAX, WAIT_MS if rate == 0.0 else 0)
        for event in range(ready):
            i = index_of_fd[libc.event_tag(events, event)]
            _receive(connections, i, buffers, known, batches[2], framing, scratch, pace, counters, latencies)
            if rate > 0.0:
                _send_due(connections, i, pipelining, batches, counters, now_ns)
            elif sending and connections[i]["answered"] == connections[i]["sent"]:
                _send(connections, i, pipelining, batches, counters, system.monotonic_ns(timespec))


@compiled
def _fall_due(
    connections: Connections, until_ns: int, pipelining: int, pace: Pace, batches: Batches, counters: Ints, now_ns: int
) -> None:
    """Open loop: hand out the requests that fell due until `until_ns`, one connection after the other."""
    due_by_now = np.int64((until_ns - pace[0]) * pace[1] / 1e9)
    while counters[load.SENT] < due_by_now:
        i = counters[load.SENT] % connections.size
        counters[load.SENT] += 1
        connections[i]["due"] += 1
        _send_due(connections, i, pipelining, batches, counters, now_ns)


@compiled
def _send_due(connections: Connections, i: int, pipelining: int, batches: Batches, counters: Ints, now_ns: int) -> None:
    """Open loop: send what has fallen due, as far as the connection may have it in flight."""
    row = connections[i]
    count = min(pipelining - (row["sent"] - row["answered"]), row["due"] - row["sent"])
    if count > 0:
        sent = counters[load.SENT]  # counted when it fell due
        _send(connections, i, count, batches, counters, now_ns)
        counters[load.SENT] = sent


@compiled
def _send(connections: Connections, i: int, count: int, batches: Batches, counters: Ints, now_ns: int) -> None:
    """Write the connection's next `count` requests at once; a write that fails closes the connection."""
    row = connections[i]
    if row["fd"] < 0:
        return
    requests, ends, circle = batches
    first = (row["first"] + row["sent"]) % circle
    size = ends[first + count] - ends[first]
    row["sent_at_ns"] = now_ns
    row["sent"] += count
    counters[load.SENT] += count
    if libc.send(row["fd"], requests, ends[first], size) != size:
        _give_up(connections, i, counters)


@compiled
def _receive(
    connections: Connections,
    i: int,
    buffers: Bytes,
    known: Known,
    circle: int,
    framing: int,
    scratch: Scratch,
    pace: Pace,
    counters: Ints,
    latencies: Counts,
) -> None:
    """Take what one connection received, and check each answer that is complete."""
    row = connections[i]
    frame, timespec = scratch
    buffer = buffers[i]
    got = libc.receive(row["fd"], buffer, row["fill"], buffer.size - row["fill"])
    now_ns = system.monotonic_ns(timespec)
    if got <= 0:
        _give_up(connections, i, counters)
        return
    start = 0
    end = row["fill"] + got
    while start < end:
        verdict = checks.frame_answer(framing, buffer, start, end, frame)
        if verdict == checks.INCOMPLETE:
            break
        if verdict == checks.MALFORMED or row["answered"] == row["sent"]:
            counters[load.FAULT_BASE + checks.NOT_AN_ANSWER] += 1
            row["answered"] = min(row["answered"] + 1, row["sent"])
            _give_up(connections, i, counters)
            return
        body = start + frame[checks.HEAD_BYTES]
        stop = body + frame[checks.BODY_BYTES]
        start = stop + frame[checks.TAIL_BYTES]
        asked_ns = row["sent_at_ns"]
        if pace[1] > 0.0:
            asked_ns = np.int64(pace[0] + (row["answered"] * connections.size + i + 1) * 1e9 / pace[1])
        asset = (row["first"] + row["answered"]) % circle
        row["answered"] += 1
        fault = checks.REFUSED
        if verdict == checks.COMPLETE:
            fault = _check(buffer, body, stop, i, asset, known)
        if fault < 0:
            counters[load.ANSWERED] += 1
            counters[load.LOOKUPS] += 1
            counters[load.ENDED_NS] = now_ns
            record(latencies, now_ns - asked_ns)
        else:
            counters[load.FAULT_BASE + fault] += 1
    if end - start == buffer.size:
        counters[load.FAULT_BASE + checks.NOT_AN_ANSWER] += 1
        row["answered"] += 1
        _give_up(connections, i, counters)
        return
    for k in range(end - start if start > 0 else 0):
        buffer[k] = buffer[start + k]
    row["fill"] = end - start


@compiled
def _check(buffer: Bytes, start: int, end: int, i: int, asset: int, known: Known) -> int:
    """-1 for a right answer, else its fault."""
    names, name_lengths, bodies, lengths, times, last_times = known
    time_ms = checks.check_price(buffer, start, end, asset, names, name_lengths, bodies, lengths, times)
    if time_ms < 0:
        return -1 - time_ms
    if time_ms < last_times[i, asset]:
        return checks.TIME_WENT_BACK
    last_times[i, asset] = time_ms
    return -1


@compiled
def _give_up(connections: Connections, i: int, counters: Ints) -> None:
    """Close a connection; what it still owed is broken."""
    row = connections[i]
    if row["fd"] < 0:
        return
    libc.close(row["fd"])
    row["fd"] = -1
    counters[load.CLOSED] += 1
    counters[load.FAULT_BASE + checks.BROKEN] += row["sent"] - row["answered"]
    row["answered"] = row["sent"]
