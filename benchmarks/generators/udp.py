"""Load over UDP, as text or as binary frames: one compiled loop of recvmmsg and sendmmsg.

Rules: one thread, which the caller pins to a core that the server does not use. The datagrams in flight are spread
over `lanes` connected sockets, so that several workers get their share. Replies of one lane come in the order of its
requests: a reply that answers a later request than the next shows that those between were lost. Binary frames carry
the request's number as their id; text replies are told apart by the asset, which changes with each request.
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
from benchmarks.generators.frames import FrameMemory, check_frame, id_of_reply, request_frame, write_id
from benchmarks.generators.histogram import Counts, Latencies, record
from trinity.compiled import compiled
from trinity.native import libc

# Datagrams a system call, as many as the request workers take.
BATCH = 64
# The highest of the load levels; also the length of a lane's ring of send times.
IN_FLIGHT_MAX = 4_096
# Longest reply: 64 records, or a text answer, with room to see one that is too long.
REPLY_BYTES_MAX = 1_536
# 4,096 replies of 640 bytes take some 8 MB of the kernel's bookkeeping.
RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024
# Closed loop: nothing came for this long, so what is in flight is lost and is asked again.
LOSS_NS = 1_000_000_000
WAIT_MS = 20
TEXT, BINARY, ECHO = range(3)
LANES_MAX = 64

LANE_DTYPE = np.dtype(
    [
        ("fd", np.int64),
        ("due", np.int64),  # open loop: requests that have fallen due in this run, sent or not
        ("sent", np.int64),  # number of the next request
        ("settled", np.int64),  # requests below this number are answered or lost
    ]
)
Lanes = NDArray[np.void]
Known = tuple[Bytes, Ints, Bytes, Ints, Ints, Ints, Ints, NDArray[np.float64]]
Pace = tuple[float, float]  # start of the run (ns), requests a second (0: closed loop)


@dataclass(frozen=True)
class UdpTarget:
    """Where datagrams go: TEXT asks for one asset each in turn, BINARY for all `assets` at once, ECHO for itself."""

    host: str
    port: int
    assets: list[str]
    protocol: int = TEXT


class UdpGenerator:
    """Sockets to one server; `run` may be called any number of times until `close`."""

    def __init__(self, target: UdpTarget, in_flight: int, lanes: int = 1) -> None:
        assert 1 <= lanes <= LANES_MAX
        assert lanes <= in_flight <= IN_FLIGHT_MAX
        self._protocol = target.protocol
        binary = target.protocol == BINARY
        self._assets = len(target.assets)
        self._memory = checks.Memory(target.assets)
        self._frames = FrameMemory(len(target.assets))
        self._last_times = np.zeros((lanes, len(target.assets)), dtype=np.int64)
        requests = [request_frame(target.assets)] if binary else [name.encode() for name in target.assets]
        self._requests, self._ends = _joined(requests * (BATCH if binary else 1))
        self._window = in_flight // lanes
        self._lanes: Lanes = np.zeros(lanes, dtype=LANE_DTYPE)
        self._sent_at_ns = np.zeros((lanes, IN_FLIGHT_MAX), dtype=np.int64)
        self._out = system.Datagrams(BATCH, 1)
        self._in = system.Datagrams(BATCH, REPLY_BYTES_MAX)
        self._epoll = select.epoll()
        for i in range(lanes):
            self._lanes[i]["fd"] = fd = _connect(target.host, target.port)
            self._epoll.register(fd, select.EPOLLIN)
        self._events = np.zeros(LANES_MAX * libc.EVENT_WORDS, dtype=np.uint32)
        self._timespec = system.make_timespec()
        self._lane_of_fd = np.full(int(self._lanes["fd"].max()) + 1, -1, dtype=np.int64)
        self._lane_of_fd[self._lanes["fd"]] = np.arange(lanes)

    def run(self, wanted: load.Load) -> load.Outcome:
        """Make one run and wait for its last replies."""
        counters = np.zeros(load.COUNTER_WORDS, dtype=np.int64)
        latencies = Latencies()
        known, frames = self._memory, self._frames
        for name in ("due", "sent", "settled"):
            self._lanes[name] = 0
        _drive(
            self._epoll.fileno(),
            self._events,
            self._lane_of_fd,
            self._lanes,
            self._sent_at_ns,
            (self._requests, self._ends, self._protocol, self._window, self._assets),
            (self._out.headers, self._out.iovecs, self._in.headers, self._in.buffer),
            (
                known.names,
                known.name_lengths,
                known.bodies,
                known.lengths,
                known.times,
                self._last_times,
                frames.last_times,
                frames.last_prices,
            ),
            self._timespec,
            int(wanted.seconds * 1e9),
            float(wanted.rate),
            counters,
            latencies.counts,
        )
        return load.outcome_of(counters, latencies)

    def close(self) -> None:
        self._epoll.close()
        for fd in self._lanes["fd"]:
            with contextlib.suppress(OSError):
                os.close(int(fd))


def _connect(host: str, port: int) -> int:
    lane = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    lane.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    lane.connect((host, port))
    lane.setblocking(False)
    return lane.detach()


def _joined(requests: list[bytes]) -> tuple[Bytes, Ints]:
    """Requests end to end; request i lies in [ends[i], ends[i + 1])."""
    ends = np.concatenate([[0], np.cumsum([len(request) for request in requests])]).astype(np.int64)
    return np.frombuffer(b"".join(requests), dtype=np.uint8).copy(), ends


Wanted = tuple[Bytes, Ints, int, int, int]  # requests, their ends, protocol, window a lane, assets
Batches = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], Bytes]


@compiled
def _drive(
    epoll_fd: int,
    events: NDArray[np.uint32],
    lane_of_fd: Ints,
    lanes: Lanes,
    sent_at_ns: Ints,
    wanted: Wanted,
    batches: Batches,
    known: Known,
    timespec: Ints,
    duration_ns: int,
    rate: float,
    counters: Ints,
    latencies: Counts,
) -> None:
    """The loop of one run; see the module's docstring."""
    start_ns = system.monotonic_ns(timespec)
    stop_ns = start_ns + duration_ns
    counters[load.STARTED_NS] = start_ns
    heard_ns = start_ns
    pace = (np.float64(start_ns), rate)
    while True:
        now_ns = system.monotonic_ns(timespec)
        sending = now_ns < stop_ns
        if rate > 0.0:
            due_by_now = np.int64((min(now_ns, stop_ns) - start_ns) * rate / 1e9)
            while counters[load.SENT] < due_by_now:
                lanes[counters[load.SENT] % lanes.size]["due"] += 1
                counters[load.SENT] += 1
        if now_ns >= stop_ns + load.DRAIN_NS or (not sending and load.in_flight(counters) == 0):
            break
        if rate == 0.0 and now_ns - heard_ns > LOSS_NS:
            for i in range(lanes.size):
                counters[load.FAULT_BASE + checks.LOST] += lanes[i]["sent"] - lanes[i]["settled"]
                lanes[i]["settled"] = lanes[i]["sent"]
            heard_ns = now_ns
        for i in range(lanes.size):
            if sending or rate > 0.0:
                _fill(lanes, i, sent_at_ns, wanted, batches, rate, counters, now_ns)
        ready = libc.wait_events(epoll_fd, events, LANES_MAX, WAIT_MS if rate == 0.0 else 0)
        for event in range(ready):
            i = lane_of_fd[libc.event_tag(events, event)]
            _receive(lanes, i, sent_at_ns, wanted, batches, known, timespec, pace, counters, latencies)
            heard_ns = now_ns


@compiled
def _fill(
    lanes: Lanes,
    i: int,
    sent_at_ns: Ints,
    wanted: Wanted,
    batches: Batches,
    rate: float,
    counters: Ints,
    now_ns: int,
) -> None:
    """Send what the lane's window and, in the open loop, the schedule allow."""
    requests, ends, protocol, window, assets = wanted
    binary = protocol == BINARY
    headers, iovecs, _, _ = batches
    lane = lanes[i]
    while True:
        count = min(window - (lane["sent"] - lane["settled"]), BATCH)
        if rate > 0.0:
            count = min(count, lane["due"] - lane["sent"])
        if count <= 0:
            return
        for k in range(count):
            number = lane["sent"] + k
            request = np.int64(k) if binary else (i + number) % assets
            if binary:
                write_id(requests, ends[request], number)
            iovecs[k, 0] = np.uint64(requests.ctypes.data + ends[request])
            iovecs[k, 1] = np.uint64(ends[request + 1] - ends[request])
            sent_at_ns[i, number % IN_FLIGHT_MAX] = now_ns
        done = libc.send_many(lane["fd"], headers, 0, count)
        if done <= 0:
            return
        lane["sent"] += done
        if rate == 0.0:
            counters[load.SENT] += done


@compiled
def _receive(
    lanes: Lanes,
    i: int,
    sent_at_ns: Ints,
    wanted: Wanted,
    batches: Batches,
    known: Known,
    timespec: Ints,
    pace: Pace,
    counters: Ints,
    latencies: Counts,
) -> None:
    """Take one batch of replies and check each."""
    lane = lanes[i]
    _, _, headers, buffers = batches
    count = libc.receive_many(lane["fd"], headers, BATCH)
    now_ns = system.monotonic_ns(timespec)
    for k in range(count):
        reply = buffers[k]
        size = libc.message_length(headers, k)
        number = _number_of(reply, size, i, lane["settled"], lane["sent"], wanted, known)
        if number < 0:
            counters[load.FAULT_BASE + checks.NOT_AN_ANSWER] += 1
            continue
        counters[load.FAULT_BASE + checks.LOST] += number - lane["settled"]
        lane["settled"] = number + 1
        fault = _check(reply, size, i, number, wanted, known)
        if fault >= 0:
            counters[load.FAULT_BASE + fault] += 1
            continue
        asked_ns = sent_at_ns[i, number % IN_FLIGHT_MAX]
        if pace[1] > 0.0:
            asked_ns = np.int64(pace[0] + (number * lanes.size + i + 1) * 1e9 / pace[1])
        counters[load.ANSWERED] += 1
        counters[load.LOOKUPS] += wanted[4] if wanted[2] == BINARY else 1
        counters[load.ENDED_NS] = now_ns
        record(latencies, now_ns - asked_ns)


@compiled
def _number_of(reply: Bytes, size: int, i: int, first: int, behind: int, wanted: Wanted, known: Known) -> int:
    """Which request of the lane this reply answers: the next, or a later one if those between were lost; -1: none."""
    if first >= behind:
        return -1
    if wanted[2] == ECHO:
        return first
    if wanted[2] == BINARY:
        number = id_of_reply(reply, size)
        return number if first <= number < behind else -1
    assets = wanted[4]
    for number in range(first, min(first + assets, behind)):
        asset = (i + number) % assets
        if checks.names_asset(reply, 0, size, known[0][asset], known[1][asset]):
            return number
    return first


@compiled
def _check(reply: Bytes, size: int, i: int, number: int, wanted: Wanted, known: Known) -> int:
    """-1 for a right reply, else its fault."""
    names, name_lengths, bodies, lengths, times, last_times, frame_times, frame_prices = known
    assets = wanted[4]
    if wanted[2] == ECHO:
        return -1 if size == known[1][(i + number) % assets] else checks.NOT_AN_ANSWER
    if wanted[2] == BINARY:
        return check_frame(reply, size, assets, frame_times, frame_prices)
    asset = (i + number) % assets
    time_ms = checks.check_price(reply, 0, size, asset, names, name_lengths, bodies, lengths, times)
    if time_ms < 0:
        return -1 - time_ms
    if time_ms < last_times[i, asset]:
        return checks.TIME_WENT_BACK
    last_times[i, asset] = time_ms
    return -1
