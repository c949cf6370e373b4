"""How far behind are the clients of a stream: 1,000 of them, 25 assets each, 4 updates a second and asset.

    publisher (here)          writes every asset's answer 4 times a second, with the time of writing as its timestamp
    reporter                  the reporting service alone over the same memory, in a process of its own
    clients (a child)         plain sockets and epoll; each event's lag is its arrival minus its timestamp

Rules: an asset's updates are spread over the quarter second; the lag counts from the write into shared memory to the
moment at which the client holds the event's last byte. A client's figure is the 99th percentile of its own lags; the
whole's is the worst of them. Everything is on loopback and shares the machine's cores.
"""

import multiprocessing
import os
import re
import select
import socket
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.bare_worker import answer_of, write_all
from benchmarks.errors import PeerError
from benchmarks.processes import cpu_ns, free_port, raise_file_limit
from benchmarks.progress import Progress
from trinity.clock import NS_PER_MS, SystemClock
from trinity.markets import load_catalog
from trinity.memory.node import Card, NodeMemory, ProcessEntry

CLIENTS = 1000
ASSETS = 25
UPDATES_PER_SECOND = 4
WARM_UP_SECONDS = 3.0
_CONNECT_SECONDS = 60.0
_STAMP = re.compile(rb'"timestamp":(\d+)')
_READ_BYTES = 1 << 18


def measure_streams(folder: Path, seconds: float, progress: Progress) -> dict[str, Any]:
    """Lags of all clients, their 99th percentiles, and what the reporter's processor did meanwhile."""
    raise_file_limit()
    catalog = load_catalog()
    name = f"bench-streams-{os.getpid()}"
    memory = NodeMemory.create(Card(name, True, (ProcessEntry("reporter-0", "reporter"),), catalog))
    clock, port = SystemClock(), free_port()
    try:
        write_all(memory, clock, 0)
        reporter = multiprocessing.get_context("fork").Process(target=report_alone, args=(memory, port, folder))
        ours, theirs = multiprocessing.Pipe()
        assets = [asset.name for asset in catalog.assets][:ASSETS]
        clients = multiprocessing.get_context("fork").Process(target=_read_all, args=(port, assets, seconds, theirs))
        reporter.start()
        wait_for_port(port)
        clients.start()
        progress.step(f"{CLIENTS} clients connect, then {seconds:g} s are measured")
        _publish_until(memory, clock, len(assets), ours, WARM_UP_SECONDS)
        cpu_before, measured_from_ns = cpu_ns([reporter.pid or 0]), clock.monotonic_ns()
        _publish_until(memory, clock, len(assets), ours, None)
        found: dict[str, Any] = ours.recv()
        elapsed_ns = clock.monotonic_ns() - measured_from_ns
        found["reporter_cpu_percent"] = round(100 * (cpu_ns([reporter.pid or 0]) - cpu_before) / elapsed_ns, 1)
        clients.join()
        reporter.terminate()
        reporter.join()
        return found
    finally:
        memory.unlink()


def _publish_until(memory: NodeMemory, clock: SystemClock, count: int, done: Connection, seconds: float | None) -> None:
    """Write each of `count` assets UPDATES_PER_SECOND times a second, evenly, for so long or until `done` speaks."""
    started = time.monotonic()
    turn = 0
    while (seconds is None or time.monotonic() - started < seconds) and not done.poll():
        asset = turn % count
        now_ns, wall_ns = clock.monotonic_ns(), clock.wall_ns()
        answer = answer_of(memory.card.catalog.assets[asset].name, asset, turn // count, now_ns, wall_ns)
        memory.answers.write(memory.answers.row_of(asset), answer)
        turn += 1
        time.sleep(max(0.0, started + turn / (count * UPDATES_PER_SECOND) - time.monotonic()))


def report_alone(memory: NodeMemory, port: int, folder: Path) -> None:
    """The reporting service alone, without a database."""
    from trinity.memory.access import AccessMemory
    from trinity.process import NodeView, ProcessContext
    from workers.api.base.context import ReportSettings
    from workers.api.server import run

    context = ProcessContext.of(memory, 0, SystemClock(), -1)
    settings = ReportSettings(
        bind_host="127.0.0.1", tcp_port=port, udp_port=free_port(socket.SOCK_DGRAM), data_dir=folder, auth="optional",
        admin_key=None, database_url="host=/nonexistent", cache_url=None,
    )  # fmt: skip
    run(context, NodeView(memory), AccessMemory.private(), settings)


def wait_for_port(port: int) -> None:
    """Until somebody listens there; PeerError after a minute."""
    deadline = time.monotonic() + _CONNECT_SECONDS
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise PeerError("reporter", f"does not listen after {_CONNECT_SECONDS} s")


def _read_all(port: int, assets: Sequence[str], seconds: float, results: Connection) -> None:
    """All clients: connect, let WARM_UP_SECONDS pass, then gather the lags of every event."""
    request = f"GET /stream/prices?assets={','.join(assets)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    sockets: dict[int, socket.socket] = {}
    poller = select.epoll()
    for _ in range(CLIENTS):
        connection = socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_SECONDS)
        connection.sendall(request)
        connection.setblocking(False)
        sockets[connection.fileno()] = connection
        poller.register(connection.fileno(), select.EPOLLIN)
    lags: dict[int, list[int]] = {descriptor: [] for descriptor in sockets}
    tails = dict.fromkeys(sockets, b"")
    counts_from = time.monotonic() + WARM_UP_SECONDS
    ends_at = counts_from + seconds
    while (now := time.monotonic()) < ends_at:
        for descriptor, _ in poller.poll(0.1):
            chunk = tails[descriptor] + sockets[descriptor].recv(_READ_BYTES)
            whole, _, tails[descriptor] = chunk.rpartition(b"\n\n")
            if now >= counts_from:
                now_ms = time.time_ns() // NS_PER_MS
                lags[descriptor] += [now_ms - int(stamp) for stamp in _STAMP.findall(whole)]
    results.send(summary_of(list(lags.values()), seconds))


def summary_of(lags_ms: Sequence[Sequence[int]], seconds: float) -> dict[str, Any]:
    """The figures out of each client's lags."""
    heard = [np.asarray(client) for client in lags_ms if client]
    if not heard:
        raise PeerError("stream", "no client heard anything")
    worst = [float(np.percentile(client, 99)) for client in heard]
    everything = np.concatenate(heard)
    return {
        "clients": len(lags_ms),
        "silent_clients": len(lags_ms) - len(heard),
        "assets": ASSETS,
        "events_per_second": round(everything.size / seconds),
        "lag_ms_p50": float(np.percentile(everything, 50)),
        "lag_ms_p99": float(np.percentile(everything, 99)),
        "lag_ms_max": float(everything.max()),
        "worst_client_lag_ms_p99": max(worst),
        "seconds": seconds,
    }
