"""From a frame on the wire to the new price in an HTTP answer, on a whole node at 2,000 and at 20,000 quotes a second.

    wire_sender -> feed -> price table -> consensus -> answer table -> request worker -> this poller

Rules: all six exchanges are feeds/wire_sender.py, one process that costs little. One of them also lists PROBE, alone:
each of its frames has a price of its own, so the consensus price of PROBE tells which frame an answer came from. The
poller asks over one kept-alive connection with a short pause after each answer; a frame counts from right before it was
written until right after the first answer that shows it was read, so the poller's own round trip and pause are part of
the figure: it is an upper bound. A price is overdue from the moment at which the next frame was written: how long it
was, at the worst, when it was still asked for and shown, is said as well.
"""

import contextlib
import select
import socket
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.feeds.frame_templates import FIRST_MANTISSA, PROBE, SCALE, STEP
from benchmarks.feeds.sent_node import start_sent_node
from benchmarks.feeds.wire_sender import PROBES_MAX, SENT, TIMES, WANTED
from benchmarks.generators import checks, system
from benchmarks.generators.checks import Bytes, Ints
from benchmarks.generators.histogram import Latencies, record
from benchmarks.generators.http import price_requests
from benchmarks.progress import Progress
from benchmarks.servers.node import Node, pids_by_name
from benchmarks.servers.processes import Server, cpu_ns
from trinity.clock import NS_PER_SECOND, Clock
from trinity.compiled import compiled
from trinity.memory.node import NodeMemory
from trinity.native import libc
from trinity.observe.metrics import FEED

Scratch = tuple[NDArray[np.uint32], Bytes, Ints, Ints]  # events, buffer, frame, timespec

RATES = (2_000, 20_000)
# Long enough to give the processor away, short beside the limits.
PAUSE_NS = 50_000
_SETTLE_SECONDS = 2.0
_ANSWER_BYTES_MAX = 8 * 1024
_PRICE = np.frombuffer(b'"price":', dtype=np.uint8)
# Words that the poller counts: answers, and how long the worst price was overdue that was still shown.
_ANSWERS, _OVERDUE_NS, _COUNTED_WORDS = range(3)


def measure_wire(folder: Path, seconds: float, clock: Clock, progress: Progress) -> dict[str, Any]:
    """For each rate: percentiles of the time from frame to answer, what the node took, and what took the processors."""
    with contextlib.ExitStack() as stopping:
        progress.step("starting the exchanges and a whole node")
        node, sender, control = start_sent_node(folder, stopping, RATES[0])
        found = {}
        for rate in RATES:
            progress.step(f"asking for {seconds:g} s at {rate:,} quotes/s")
            control[WANTED] = rate
            _poll_for(node.tcp_port, control, _SETTLE_SECONDS)
            found[str(rate)] = _measure_rate(node, sender, control, seconds, clock)
    return {"seconds": seconds, "rates": found}


def _measure_rate(node: Node, sender: Server, control: Ints, seconds: float, clock: Clock) -> dict[str, Any]:
    memory = NodeMemory.attach(node.name)
    pids = pids_by_name(node.name) | {"wire_sender": sender.pid}
    before = {name: cpu_ns([pid]) for name, pid in pids.items()}
    started_ns, taken, sent = clock.monotonic_ns(), _quotes_taken(memory), int(control[SENT])
    seen_ns, counted = _poll_for(node.tcp_port, control, seconds)
    passed_ns, taken, sent = clock.monotonic_ns() - started_ns, _quotes_taken(memory) - taken, int(control[SENT]) - sent
    busy = {name: round((cpu_ns([pid]) - before[name]) / passed_ns, 4) for name, pid in pids.items()}
    latencies, missed = match(control[TIMES:], seen_ns)
    return {
        "sent_per_second": round(sent * NS_PER_SECOND / passed_ns, 1),
        "quotes_per_second": round(taken * NS_PER_SECOND / passed_ns, 1),
        "answers_per_second": round(int(counted[_ANSWERS]) * NS_PER_SECOND / passed_ns, 1),
        "share_of_a_processor": busy,
        "frames": latencies.total,
        "frames_never_seen": missed,
        "latency_us": latencies.summary_us(),
        "overdue_ms_max": round(int(counted[_OVERDUE_NS]) / 1e6, 2),
    }


def match(sent_ns: Ints, seen_ns: Ints) -> tuple[Latencies, int]:
    """Latencies of the frames that were seen, and how many between the first and the last of them were not."""
    latencies = Latencies()
    seen = np.flatnonzero(seen_ns)
    for number in seen[1:]:  # the first may have been there before the first question
        record(latencies.counts, int(seen_ns[number] - sent_ns[number]))
    missed = int(seen[-1] - seen[0] + 1 - seen.size) if seen.size else 0
    return latencies, missed


def _poll_for(port: int, control: Ints, seconds: float) -> tuple[Ints, Ints]:
    """(when each frame's price was seen first, what was counted)"""
    request = np.frombuffer(price_requests([PROBE])[0], dtype=np.uint8)
    events = np.zeros(libc.EVENT_WORDS, dtype=np.uint32)
    buffer = np.zeros(_ANSWER_BYTES_MAX, dtype=np.uint8)
    frame = np.zeros(checks.FRAME_WORDS, dtype=np.int64)
    seen_ns, counted = np.zeros(PROBES_MAX, dtype=np.int64), np.zeros(_COUNTED_WORDS, dtype=np.int64)
    scratch, sent_ns = (events, buffer, frame, system.make_timespec()), control[TIMES:]
    # Compiled now: a connection that asks nothing meanwhile is closed.
    _poll(-1, -1, request, scratch, sent_ns, seen_ns, counted, 0)
    with socket.create_connection(("127.0.0.1", port)) as connection, select.epoll() as epoll:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        epoll.register(connection.fileno(), select.EPOLLIN)
        duration_ns = int(seconds * NS_PER_SECOND)
        _poll(connection.fileno(), epoll.fileno(), request, scratch, sent_ns, seen_ns, counted, duration_ns)
    return seen_ns, counted


@compiled
def _poll(
    fd: int,
    epoll_fd: int,
    request: Bytes,
    scratch: Scratch,
    sent_ns: Ints,
    seen_ns: Ints,
    counted: Ints,
    duration_ns: int,
) -> None:
    """Ask again and again; note when each price was seen first, and which was still shown when it was overdue."""
    events, buffer, frame, timespec = scratch
    asked_ns = system.monotonic_ns(timespec)
    stop_ns = asked_ns + duration_ns
    while asked_ns < stop_ns:
        if libc.send(fd, request, 0, request.size) != request.size:
            return
        fill = 0
        verdict = checks.INCOMPLETE
        while verdict == checks.INCOMPLETE:
            libc.wait_events(epoll_fd, events, 1, -1)
            got = libc.receive(fd, buffer, fill, buffer.size - fill)
            if got <= 0:
                return
            fill += got
            verdict = checks.frame_answer(checks.FRAMING_HTTP, buffer, 0, fill, frame)
        now_ns = system.monotonic_ns(timespec)
        if verdict == checks.COMPLETE:
            counted[_ANSWERS] += 1
            number = number_in(buffer, frame[checks.HEAD_BYTES], fill)
            if 0 <= number < seen_ns.size - 1:
                if seen_ns[number] == 0:
                    seen_ns[number] = now_ns
                if sent_ns[number + 1] > 0:
                    counted[_OVERDUE_NS] = max(counted[_OVERDUE_NS], asked_ns - sent_ns[number + 1])
        system.sleep_ns(PAUSE_NS, timespec)
        asked_ns = system.monotonic_ns(timespec)


@compiled
def number_in(buffer: Bytes, start: int, end: int) -> int:
    """Which frame's price the body in buffer[start:end] shows, -1 when it shows none."""
    at = checks.find(buffer, start, end, _PRICE)
    if at < 0:
        return -1
    at += _PRICE.size
    mantissa = 0
    places = -1
    while at < end and (48 <= buffer[at] <= 57 or (buffer[at] == 46 and places < 0)):
        if buffer[at] == 46:
            places = 0
        else:
            mantissa = mantissa * 10 + int(buffer[at]) - 48
            if places >= 0:
                places += 1
        at += 1
    for _ in range(SCALE - max(places, 0)):
        mantissa *= 10
    offset = mantissa - FIRST_MANTISSA
    if offset < 0 or offset % STEP != 0:
        return -1
    return offset // STEP


def _quotes_taken(memory: NodeMemory) -> int:
    """Quotes that all feeds have written so far."""
    word = FEED.index("quotes_total", "ws")
    feeds = [i for i, entry in enumerate(memory.card.processes) if entry.kind == "feed"]
    return sum(memory.control.block(i).read_counter(word) for i in feeds)
