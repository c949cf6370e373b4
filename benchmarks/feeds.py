"""What a frame costs the feed process, from the socket to the price table, for each of the six exchanges.

Rules: the sender is a process of its own and not counted. Processor time is the scheduler's account of the feed process
(user and kernel). Sent are FRAMES_PER_SECOND, evenly spread, and before that IDLE_FRAMES_PER_SECOND, which keep every
row fresh: what the feed costs then (its checks, five times a second) is what it costs anyway, so a frame's cost is what
came on top, divided by the frames on top. A frame that was not taken, or refused, is an error of the measurement.
"""

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.errors import PeerError
from benchmarks.feed_sender import SENT, WANTED, Control, open_control
from benchmarks.processes import Server, cores, cpu_ns, data_dir, free_port, start, wait_for_port
from benchmarks.progress import Progress
from trinity.clock import NS_PER_US
from trinity.errors import TrinityError
from trinity.memory.node import NodeMemory
from trinity.observe.metrics import FEED
from trinity.vocabulary import EXCHANGES, REFUSAL_REASONS

FRAMES_PER_SECOND = 5_000
IDLE_FRAMES_PER_SECOND = 100
_START_SECONDS_MAX = 120
_POLL_SECONDS = 0.1
# The counters are published at the checks, five a second, and the last frames are under way.
_SETTLE_SECONDS = 0.6
_CATCH_UP_SECONDS = 6.0
# Acknowledgements and heartbeats, which the sender does not count as frames.
_OTHER_FRAMES_MAX = 60


class Span(NamedTuple):
    """Processor time and frames of one stretch of time."""

    seconds: float
    cpu_us: float
    frames: int


def measure_feeds(folder: Path, seconds: float, progress: Progress) -> dict[str, Any]:
    """Each exchange's cost of a frame; `wrong` counts frames that were sent and not taken, and refused ones."""
    rows = []
    for exchange in EXCHANGES:
        row = measure_exchange(folder, exchange, seconds)
        progress.step(f"{exchange}: {row['cpu_us']:.1f} us a frame at {row['per_second']:.0f} frames/s")
        rows.append(row)
    return {"rows": rows, "cpu_us": max(row["cpu_us"] for row in rows), "wrong": sum(row["wrong"] for row in rows)}


def measure_exchange(folder: Path, exchange: str, seconds: float) -> dict[str, Any]:
    """The cost of a frame of one exchange."""
    with contextlib.ExitStack() as stopping:
        control, port = start_sender(folder, exchange, stopping)
        node = f"bench-feed-{os.getpid()}-{exchange}"
        command = [sys.executable, "-m", "benchmarks.feed_alone", node, exchange, str(port)]
        feed = start(f"feed_{exchange}", command, folder, cores()[0], {"TRINITY_DATA_DIR": str(data_dir())})
        stopping.callback(feed.stop)
        memory = _attach(feed, node)
        control[WANTED] = IDLE_FRAMES_PER_SECOND
        _wait_for_quotes(feed, memory)
        taken, refused, sent = _frames(memory), _refused(memory), int(control[SENT])
        idle = measure_span(feed, control, IDLE_FRAMES_PER_SECOND, seconds)
        busy = measure_span(feed, control, FRAMES_PER_SECOND, seconds)
        control[WANTED] = 0
        missing = _missing(memory, control, sent - taken)
        wrong = _refused(memory) - refused + (missing if missing > _OTHER_FRAMES_MAX else 0)
    return {"exchange": exchange, **cost_of(idle, busy), "wrong": wrong}


def start_sender(folder: Path, exchange: str, stopping: contextlib.ExitStack) -> tuple[Control, int]:
    """The sender of one exchange: its control words and its port."""
    port, file = free_port(), folder / f"sender_{exchange}.i64"
    control = open_control(file, "w+")
    command = [sys.executable, "-m", "benchmarks.feed_sender", exchange, str(port), str(file)]
    sender = start(f"sender_{exchange}", command, folder, cores()[1])
    stopping.callback(sender.stop)
    wait_for_port(sender, port)
    return control, port


def measure_span(client: Server, control: Control, per_second: int, seconds: float) -> Span:
    """Let the sender send at a rate, and account its client's processor time for so long."""
    control[WANTED] = per_second
    time.sleep(_SETTLE_SECONDS)
    started, cpu, sent = time.monotonic(), cpu_ns([client.pid]), int(control[SENT])
    time.sleep(seconds)
    passed, used, frames = time.monotonic() - started, cpu_ns([client.pid]) - cpu, int(control[SENT]) - sent
    return Span(passed, used / NS_PER_US, frames)


def cost_of(idle: Span, busy: Span) -> dict[str, float]:
    """What a frame costs on top of an idle feed."""
    idle_frames, idle_us = (value * busy.seconds / idle.seconds for value in (idle.frames, idle.cpu_us))
    if busy.frames <= 2 * idle_frames:
        raise PeerError("feed_sender", f"sent {busy.frames} frames where some {FRAMES_PER_SECOND} a second were due")
    return {
        "cpu_us": round((busy.cpu_us - idle_us) / (busy.frames - idle_frames), 3),
        "idle_share": round(idle.cpu_us / idle.seconds / 1e6, 4),
        "per_second": round(busy.frames / busy.seconds, 1),
    }


def _attach(feed: Server, node: str) -> NodeMemory:
    for _ in range(int(_START_SECONDS_MAX / _POLL_SECONDS)):
        with contextlib.suppress(TrinityError, OSError, ValueError):  # it is not there yet, or half made
            return NodeMemory.attach(node)
        if feed.ended_within(_POLL_SECONDS):
            break
    raise PeerError(feed.name, f"did not start: {feed.log_file.read_text(errors='replace')[-300:]}")


def _wait_for_quotes(feed: Server, memory: NodeMemory) -> None:
    for _ in range(int(_START_SECONDS_MAX / _POLL_SECONDS)):
        if memory.control.block(0).read_counter(FEED.index("oracle_quotes_total", "ws")) > 0:
            return
        if feed.ended_within(_POLL_SECONDS):
            break
    raise PeerError(feed.name, f"took no quote: {feed.log_file.read_text(errors='replace')[-300:]}")


def _missing(memory: NodeMemory, control: Control, ahead: int) -> int:
    """Frames that were sent and are still not taken, once a feed that is behind has had its time."""
    missing = 0
    for _ in range(int(_CATCH_UP_SECONDS / _SETTLE_SECONDS)):
        time.sleep(_SETTLE_SECONDS)
        missing = int(control[SENT]) - _frames(memory) - ahead
        if missing <= 0:
            break
    return missing


def _frames(memory: NodeMemory) -> int:
    return memory.control.block(0).read_counter(FEED.index("oracle_frames_total"))


def _refused(memory: NodeMemory) -> int:
    block = memory.control.block(0)
    return sum(block.read_counter(FEED.index("oracle_parse_errors_total", reason)) for reason in REFUSAL_REASONS)
