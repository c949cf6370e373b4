"""What a frame costs the feed process, from the socket to the price table, for each of the six exchanges.

Rules: the sender is a process of its own and not counted. Processor time is the scheduler's account of the feed process
(user and kernel). Sent are FRAMES_PER_SECOND (to a peer what it can take), evenly spread, and before that
IDLE_FRAMES_PER_SECOND, which keep every row fresh: what the feed costs then (its checks, five times a second) is what
it costs anyway, so a frame's cost is what came on top, divided by the frames on top. A frame that was not taken, or
refused, is an error of the measurement.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.errors import PeerError
from benchmarks.feeds.control import SENT, TAKEN, WANTED, Control, open_control
from benchmarks.feeds.peers import PEERS, WHY_NOT
from benchmarks.progress import Progress
from benchmarks.servers.processes import Server, cores, cpu_ns, data_dir, free_port, start, wait_for_port
from trinity.clock import NS_PER_SECOND, NS_PER_US
from trinity.errors import TrinityError
from trinity.memory.node import NodeMemory
from trinity.observe.metrics import FEED
from trinity.vocabulary import EXCHANGES, REFUSAL_REASONS

FRAMES_PER_SECOND = 5_000
IDLE_FRAMES_PER_SECOND = 100
# What a peer can take: ccxt needs some 0.6 ms a ticker, and one that gets 5,000 a second takes none any more.
_PEER_FRAMES_PER_SECOND = {"ccxt": 1_000, "cryptofeed": FRAMES_PER_SECOND}
_START_SECONDS_MAX = 120
_POLL_SECONDS = 0.1
# The counters are published at the checks, five a second, and the last frames are under way.
_SETTLE_SECONDS = 0.6
_SECONDS_MIN = 1.0
_CATCH_UP_SECONDS = 6.0
# Coinbase takes 8 subscriptions a second, and ccxt makes one a market.
_PEER_SUBSCRIBES_SECONDS = 5.0
# A client that has started uses less than this share of a processor for IDLE_FRAMES_PER_SECOND; ccxt some 14 %.
_QUIET_SHARE = 0.25
_QUIET_SECONDS_MAX = 60
_QUIET_LOOK_SECONDS = 0.5
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
        command = [sys.executable, "-m", "benchmarks.feeds.alone", node, exchange, str(port)]
        feed = start(f"feed_{exchange}", command, folder, cores()[0], {"TRINITY_DATA_DIR": str(data_dir())})
        stopping.callback(feed.stop)
        memory = _attach(feed, node)
        control[WANTED] = IDLE_FRAMES_PER_SECOND
        _wait_for_quotes(feed, memory)
        taken, refused, sent = _frames(memory), _refused(memory), int(control[SENT])
        idle, busy = measure_both(feed, control, lambda: int(control[SENT]), FRAMES_PER_SECOND, seconds)
        control[WANTED] = 0
        missing = _missing(memory, control, sent - taken)
        wrong = _refused(memory) - refused + (missing if missing > _OTHER_FRAMES_MAX else 0)
    return {"exchange": exchange, **cost_of(idle, busy), "wrong": wrong}


def compare_feeds(folder: Path, seconds: float, python: str, progress: Progress) -> dict[str, Any]:
    """Ours and each peer on the same frames, exchange by exchange; `python` is one that has the peers."""
    installed = [peer for peer in PEERS if _has(python, peer)]
    rows: list[dict[str, Any]] = []
    for exchange in EXCHANGES:
        ours = measure_exchange(folder, exchange, seconds)["cpu_us"]
        row: dict[str, Any] = {"exchange": exchange, "trinity": ours}
        for peer in installed:
            if (peer, exchange) not in WHY_NOT:
                row[peer] = measure_peer(folder, peer, exchange, python, seconds)["cpu_us"]
        rows.append(row)
        progress.step(", ".join(f"{name} {value}" for name, value in row.items()))
    ratios = {peer: [row["trinity"] / row[peer] for row in rows if peer in row] for peer in installed}
    return {
        "rows": rows,
        "worst_ratio": {peer: round(max(values), 3) for peer, values in ratios.items()},
        "not_asked": sorted(why for (peer, _), why in WHY_NOT.items() if peer in installed),
        "not_installed": [peer for peer in PEERS if peer not in installed],
    }


def _has(python: str, package: str) -> bool:
    return subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False).returncode == 0


def measure_peer(folder: Path, peer: str, exchange: str, python: str, seconds: float) -> Mapping[str, float]:
    """A foreign client's cost of a ticker of one exchange."""
    with contextlib.ExitStack() as stopping:
        control, port = start_sender(folder, exchange, stopping)
        file = folder / f"sender_{exchange}.i64"
        command = [python, "-m", "benchmarks.feeds.peers", peer, exchange, str(port), str(file)]
        # The names of our markets stand beside compiled code, and its Python has no numba.
        client = start(f"{peer}_{exchange}", command, folder, cores()[0], {"NUMBA_DISABLE_JIT": "1"})
        stopping.callback(client.stop)
        control[WANTED] = IDLE_FRAMES_PER_SECOND
        for _ in range(int(_START_SECONDS_MAX / _POLL_SECONDS)):
            # A second's worth: by then it has subscribed all that it will.
            if control[TAKEN] > IDLE_FRAMES_PER_SECOND or client.ended_within(_POLL_SECONDS):
                break
        if control[TAKEN] <= IDLE_FRAMES_PER_SECOND:
            raise PeerError(client.name, f"took no ticker: {client.log_file.read_text(errors='replace')[-300:]}")
        time.sleep(_PEER_SUBSCRIBES_SECONDS)
        rate = _PEER_FRAMES_PER_SECOND[peer]
        idle, busy = measure_both(client, control, lambda: int(control[TAKEN]), rate, seconds)
        return cost_of(idle, busy)


def start_sender(folder: Path, exchange: str, stopping: contextlib.ExitStack) -> tuple[Control, int]:
    """The sender of one exchange: its control words and its port."""
    port, file = free_port(), folder / f"sender_{exchange}.i64"
    control = open_control(file, "w+")
    command = [sys.executable, "-m", "benchmarks.feeds.sender", exchange, str(port), str(file)]
    sender = start(f"sender_{exchange}", command, folder, cores()[1])
    stopping.callback(sender.stop)
    wait_for_port(sender, port)
    return control, port


def measure_both(
    client: Server, control: Control, taken: Callable[[], int], frames_per_second: int, seconds: float
) -> tuple[Span, Span]:
    """An idle client's processor time, and one's under load; `taken` counts what it took."""
    _wait_until_quiet(client)
    seconds, spans = max(seconds, _SECONDS_MIN), []
    for per_second in (IDLE_FRAMES_PER_SECOND, frames_per_second):
        control[WANTED] = per_second
        time.sleep(_SETTLE_SECONDS)
        started, cpu, frames = time.monotonic(), cpu_ns([client.pid]), taken()
        time.sleep(seconds)
        passed, used = time.monotonic() - started, cpu_ns([client.pid]) - cpu
        spans.append(Span(passed, used / NS_PER_US, taken() - frames))
    return spans[0], spans[1]


def _wait_until_quiet(client: Server) -> None:
    """Let a client finish what a start and many subscriptions at once take: it would be taken for what idling costs."""
    for _ in range(int(_QUIET_SECONDS_MAX / _QUIET_LOOK_SECONDS)):
        cpu = cpu_ns([client.pid])
        time.sleep(_QUIET_LOOK_SECONDS)
        if cpu_ns([client.pid]) - cpu < _QUIET_SHARE * _QUIET_LOOK_SECONDS * NS_PER_SECOND:
            return
    raise PeerError(client.name, f"uses more than {_QUIET_SHARE:.0%} of a processor for hardly any frames")


def cost_of(idle: Span, busy: Span) -> dict[str, float]:
    """What a frame costs on top of an idle feed."""
    idle_frames, idle_us = (value * busy.seconds / idle.seconds for value in (idle.frames, idle.cpu_us))
    if busy.frames <= 2 * idle_frames:
        raise PeerError("sender", f"{busy.frames} frames in {busy.seconds:.1f} s are no load")
    if busy.cpu_us <= idle_us:
        raise PeerError("sender", "a client under load used less than an idle one: something else happened")
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
        if memory.control.block(0).read_counter(FEED.index("quotes_total", "ws")) > 0:
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
    return memory.control.block(0).read_counter(FEED.index("frames_total"))


def _refused(memory: NodeMemory) -> int:
    block = memory.control.block(0)
    return sum(block.read_counter(FEED.index("parse_errors_total", reason)) for reason in REFUSAL_REASONS)
