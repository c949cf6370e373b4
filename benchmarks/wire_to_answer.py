"""From a frame on the wire to the new price in an HTTP answer, on a whole node under 2,000 quotes a second.

    probe_exchange -> feed -> price table -> consensus -> answer table -> request worker -> this poller

Rules: five exchanges are the simulators, in a process of their own; the sixth is `probe_exchange`, which alone lists
the asset PROBE. Each of its frames has a price of its own, so the consensus price of PROBE tells which frame an answer
came from. The poller asks over one kept-alive connection with a short pause after each answer; a frame counts from
right before it was written until right after the first answer that shows it was read, so the poller's own round trip
and pause are part of the figure: it is an upper bound.
"""

import contextlib
import json
import select
import socket
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import checks, probe_exchange, system
from benchmarks.checks import Bytes, Ints
from benchmarks.generator_http import price_requests
from benchmarks.histogram import Latencies, record
from benchmarks.node import pids_by_name, start_run
from benchmarks.processes import cpu_ns, data_dir, free_port, start, wait_for_port
from benchmarks.progress import Progress
from trinity.clock import NS_PER_SECOND, Clock
from trinity.compiled import compiled
from trinity.markets import DEFAULT_PATH
from trinity.memory.node import NodeMemory
from trinity.native import libc
from trinity.observe.metrics import FEED
from trinity.vocabulary import EXCHANGES

Scratch = tuple[NDArray[np.uint32], Bytes, Ints, Ints]  # events, buffer, frame, timespec

PROBE_EXCHANGE = "kraken"
PROBES_PER_SECOND = 47.0
# So many that the node takes 2,000 a second: one exchange in six is not the simulators', and Gate.io and OKX send
# what changed since the last interval, so some quotes are never sent. The results say how many were taken.
SIMULATED_QUOTES_PER_SECOND = 2_800
# Long enough to give the processor away, short beside the limit of 1 ms.
PAUSE_NS = 50_000
_ANSWER_BYTES_MAX = 8 * 1024
_PRICE = np.frombuffer(b'"price":', dtype=np.uint8)


def measure_wire(folder: Path, seconds: float, clock: Clock, progress: Progress) -> dict[str, Any]:
    """Percentiles of the time from frame to answer, and the quotes a second that the node really took."""
    simulator_port, probe_port = free_port(), free_port()
    markets_file, config_file, times_file = folder / "markets.toml", folder / "wire.toml", folder / "sent.i64"
    markets = _markets()
    markets_file.write_text(_toml(markets))
    config_file.write_text(_toml({"feeds": _feeds(simulator_port, probe_port)}))
    probe_exchange.open_times(times_file, "w+").flush()
    with contextlib.ExitStack() as stopping:
        progress.step("starting the simulators, the probing exchange and a whole node")
        environment = {
            "SIMULATOR_PORT": str(simulator_port),
            "SIMULATOR_QUOTES_PER_SECOND": str(SIMULATED_QUOTES_PER_SECOND),
            "TRINITY_DATA_DIR": str(data_dir()),
        }
        command = [sys.executable, "-m", "trinity", "simulate"]
        simulator = start("simulator", command, folder, environment=environment)
        stopping.callback(simulator.stop)
        command = [
            sys.executable,
            "-m",
            "benchmarks.probe_exchange",
            str(probe_port),
            str(times_file),
            str(PROBES_PER_SECOND),
        ]
        probe = start("probe_exchange", command, folder)
        stopping.callback(probe.stop)
        wait_for_port(simulator, simulator_port)
        wait_for_port(probe, probe_port)
        node = start_run(folder, config_file, markets_file, [probe_exchange.ASSET])
        stopping.callback(node.stop)
        progress.step(f"asking for {seconds:g} s")
        seen_ns = np.zeros(probe_exchange.FRAMES_MAX, dtype=np.int64)
        memory = NodeMemory.attach(node.name)
        pids = pids_by_name(node.name)
        before = {name: cpu_ns([pid]) for name, pid in pids.items()}
        started_ns, quotes = clock.monotonic_ns(), _quotes_taken(memory)
        asked = _ask(node.tcp_port, seen_ns, seconds)
        taken_ns, quotes = clock.monotonic_ns() - started_ns, _quotes_taken(memory) - quotes
        busy = {name: round((cpu_ns([pid]) - before[name]) / taken_ns, 4) for name, pid in pids.items()}
        sent_ns = np.array(probe_exchange.open_times(times_file, "r"))
    latencies, missed = match(sent_ns, seen_ns)
    return {
        "seconds": round(taken_ns / NS_PER_SECOND, 3),
        "quotes_per_second": round(quotes * NS_PER_SECOND / taken_ns, 1),
        "answers_per_second": round(asked * NS_PER_SECOND / taken_ns, 1),
        "share_of_a_processor": busy,
        "frames": latencies.total,
        "frames_never_seen": missed,
        "latency_us": latencies.summary_us(),
    }


def match(sent_ns: Ints, seen_ns: Ints) -> tuple[Latencies, int]:
    """Latencies of the frames that were seen, and how many between the first and the last of them were not."""
    latencies = Latencies()
    seen = np.flatnonzero(seen_ns)
    for number in seen[1:]:  # the first may have been there before the first question
        record(latencies.counts, int(seen_ns[number] - sent_ns[number]))
    missed = int(seen[-1] - seen[0] + 1 - seen.size) if seen.size else 0
    return latencies, missed


def _ask(port: int, seen_ns: Ints, seconds: float) -> int:
    request = np.frombuffer(price_requests([probe_exchange.ASSET])[0], dtype=np.uint8)
    events = np.zeros(libc.EVENT_WORDS, dtype=np.uint32)
    buffer = np.zeros(_ANSWER_BYTES_MAX, dtype=np.uint8)
    frame = np.zeros(checks.FRAME_WORDS, dtype=np.int64)
    scratch = (events, buffer, frame, system.make_timespec())
    _poll(-1, -1, request, scratch, seen_ns, 0)  # compiled now: a connection that asks nothing meanwhile is closed
    with socket.create_connection(("127.0.0.1", port)) as connection, select.epoll() as epoll:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        epoll.register(connection.fileno(), select.EPOLLIN)
        return _poll(connection.fileno(), epoll.fileno(), request, scratch, seen_ns, int(seconds * 1e9))


@compiled
def _poll(fd: int, epoll_fd: int, request: Bytes, scratch: Scratch, seen_ns: Ints, duration_ns: int) -> int:
    """Ask again and again; note when each price was seen first. Returns the number of answers."""
    events, buffer, frame, timespec = scratch
    stop_ns = system.monotonic_ns(timespec) + duration_ns
    answers = 0
    while system.monotonic_ns(timespec) < stop_ns:
        if libc.send(fd, request, 0, request.size) != request.size:
            break
        fill = 0
        verdict = checks.INCOMPLETE
        while verdict == checks.INCOMPLETE:
            libc.wait_events(epoll_fd, events, 1, -1)
            got = libc.receive(fd, buffer, fill, buffer.size - fill)
            if got <= 0:
                return answers
            fill += got
            verdict = checks.frame_answer(checks.FRAMING_HTTP, buffer, 0, fill, frame)
        now_ns = system.monotonic_ns(timespec)
        if verdict == checks.COMPLETE:
            answers += 1
            number = number_in(buffer, frame[checks.HEAD_BYTES], fill)
            if 0 <= number < seen_ns.size and seen_ns[number] == 0:
                seen_ns[number] = now_ns
        system.sleep_ns(PAUSE_NS, timespec)
    return answers


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
    for _ in range(probe_exchange.SCALE - max(places, 0)):
        mantissa *= 10
    offset = mantissa - probe_exchange.FIRST_MANTISSA
    if offset < 0 or offset % probe_exchange.STEP != 0:
        return -1
    return offset // probe_exchange.STEP


def _quotes_taken(memory: NodeMemory) -> int:
    """Quotes that all feeds have written so far."""
    word = FEED.index("oracle_quotes_total", "ws")
    feeds = [i for i, entry in enumerate(memory.card.processes) if entry.kind == "feed"]
    return sum(memory.control.block(i).read_counter(word) for i in feeds)


def _markets() -> dict[str, Any]:
    """The default markets, but the probing exchange lists the probe alone, which one source may decide."""
    markets = tomllib.loads(DEFAULT_PATH.read_text())
    markets["exchanges"][PROBE_EXCHANGE] = {"quote": "USD", "assets": [probe_exchange.ASSET]}
    markets["assets"][probe_exchange.ASSET] = {"min_sources": 1}
    listed = {asset for table in markets["exchanges"].values() for asset in table["assets"]}
    listed |= {leg.partition("/")[0] for table in markets["exchanges"].values() for leg in table.get("legs", [])}
    markets["assets"] = {asset: rules for asset, rules in markets["assets"].items() if asset in listed}
    return markets


def _feeds(simulator_port: int, probe_port: int) -> dict[str, Any]:
    ws = {name: f"ws://127.0.0.1:{simulator_port}/{name}" for name in EXCHANGES}
    rest = {name: f"http://127.0.0.1:{simulator_port}/{name}" for name in EXCHANGES}
    ws[PROBE_EXCHANGE] = f"ws://127.0.0.1:{probe_port}"
    return {"simulated": True, "ws_base_urls": ws, "rest_base_urls": rest}


def _toml(tree: dict[str, Any], path: tuple[str, ...] = ()) -> str:
    """Nested tables of strings, numbers, booleans and lists as TOML."""
    plain = {key: value for key, value in tree.items() if not isinstance(value, dict)}
    lines = [f"[{'.'.join(path)}]"] if path else []
    lines += [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    parts = ["\n".join(lines)] if lines else []
    parts += [_toml(value, (*path, key)) for key, value in tree.items() if isinstance(value, dict)]
    return "\n\n".join(parts) + ("\n" if not path else "")
