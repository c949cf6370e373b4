"""How far behind are the clients of a stream: 4,000 of them, 25 assets each, 4 updates a second and asset.

    publisher (here)          writes every asset's answer 4 times a second, with the time of writing as its timestamp
    reporter                  the reporting service alone over the same memory, in a process of its own
    clients (a child)         plain sockets and epoll, compiled (generators/stream_readers.py)

Rules: an asset's updates are spread over the quarter second; the lag counts from the write into shared memory to the
moment at which the client holds the event's last byte. A client's figure is the 99th percentile of its own lags; the
whole's is the worst of them. Everything is on loopback and shares the machine's cores.
"""

import contextlib
import multiprocessing
import os
import socket
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import PeerError
from benchmarks.generators.stream_readers import Lags, StreamReaders
from benchmarks.progress import Progress
from benchmarks.servers.bare_worker import answer_of, write_all
from benchmarks.servers.processes import cpu_ns, free_port, raise_file_limit
from trinity.clock import SystemClock
from trinity.markets import load_catalog
from trinity.memory.node import Card, NodeMemory, ProcessEntry

ASSETS = 25
UPDATES_PER_SECOND = 4
WARM_UP_SECONDS = 2.0
_CONNECT_SECONDS = 60.0


def measure_streams(folder: Path, clients: int, seconds: float, progress: Progress) -> dict[str, Any]:
    """Lags of all clients, their 99th percentiles, and what processors did meanwhile."""
    raise_file_limit()
    catalog = load_catalog()
    name = f"bench-streams-{os.getpid()}"
    memory = NodeMemory.create(Card(name, True, (ProcessEntry("reporter-0", "reporter"),), catalog))
    clock, port, fork = SystemClock(), free_port(), multiprocessing.get_context("fork")
    try:
        write_all(memory, clock, 0)
        reporter = fork.Process(target=report_alone, args=(memory, port, folder))
        assets = [asset.name for asset in catalog.assets][:ASSETS]
        reporter.start()
        wait_for_port(port)
        ours, theirs = multiprocessing.Pipe()  # of the clients alone: it ends with them
        reading = fork.Process(target=_read_all, args=(port, assets, clients, seconds, theirs))
        reading.start()
        theirs.close()
        pids = {"reporter": reporter.pid or 0, "clients": reading.pid or 0, "publisher": os.getpid()}
        try:
            progress.step(f"{clients:,} clients connect")
            _publish_until(memory, clock, len(assets), ours)
            _receive(ours)
            progress.step(f"measuring for {seconds:g} s")
            before, measured_from_ns = {who: cpu_ns([pid]) for who, pid in pids.items()}, clock.monotonic_ns()
            _publish_until(memory, clock, len(assets), ours)
            found = _receive(ours)
            elapsed_ns = clock.monotonic_ns() - measured_from_ns
            for who, pid in pids.items():
                found[f"{who}_cpu_percent"] = round(100 * (cpu_ns([pid]) - before[who]) / elapsed_ns, 1)
            ours.send("seen")
            return found
        finally:
            for child in (reading, reporter):
                child.terminate()
                child.join()
    finally:
        memory.unlink()


def _receive(results: Connection) -> dict[str, Any]:
    """What the clients say; PeerError when they ended before, or could not go on."""
    try:
        found: dict[str, Any] | str = results.recv()
    except EOFError:
        raise PeerError("clients", "they ended: see above") from None
    if isinstance(found, str):
        raise PeerError("clients", found)
    return found


def _publish_until(memory: NodeMemory, clock: SystemClock, count: int, done: Connection) -> None:
    """Write each of `count` assets UPDATES_PER_SECOND times a second, evenly, until `done` speaks."""
    started = time.monotonic()
    turn = 0
    while not done.poll():
        asset = turn % count
        now_ns, wall_ns = clock.monotonic_ns(), clock.wall_ns()
        answer = answer_of(memory.card.catalog.assets[asset].name, asset, turn // count, now_ns, wall_ns)
        memory.answers.write(memory.answers.row_of(asset), answer)
        turn += 1
        time.sleep(max(0.0, started + turn / (count * UPDATES_PER_SECOND) - time.monotonic()))


def report_alone(memory: NodeMemory, port: int, folder: Path, database_url: str = "host=/nonexistent") -> None:
    """The reporting service alone, without a database where none is given."""
    from trinity.memory.access import AccessMemory
    from trinity.memory.usage_ring import UsageRing, private_ring
    from trinity.process import NodeView, ProcessContext
    from workers.api.base.context import ReportSettings
    from workers.api.server import run

    context = ProcessContext.of(memory, 0, SystemClock(), -1)
    settings = ReportSettings(
        bind_host="127.0.0.1", tcp_port=port, udp_port=free_port(socket.SOCK_DGRAM), data_dir=folder, auth="optional",
        admin_key=None, database_url=database_url, cache=None,
    )  # fmt: skip
    run(context, NodeView(memory), AccessMemory.private(), UsageRing(Path(), private_ring(0, 1 << 16)), settings)


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


def _read_all(port: int, assets: Sequence[str], clients: int, seconds: float, results: Connection) -> None:
    """All clients: connect, say so after WARM_UP_SECONDS, then gather the lags of every event."""
    request = f"GET /stream/prices?assets={','.join(assets)} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
    try:
        with contextlib.closing(StreamReaders(port, request, clients)) as readers:
            readers.run(WARM_UP_SECONDS)
            results.send({})
            read_bytes = readers.run(seconds)
    except (OSError, PeerError) as error:
        results.send(str(error))
        return
    results.send({**summary_of(readers.lags, seconds), "megabytes_per_second": round(read_bytes / seconds / 1e6, 1)})
    results.recv()  # until what we took of a processor has been looked at


def summary_of(lags: Lags, seconds: float) -> dict[str, Any]:
    """The figures out of each client's lags."""
    heard = lags[lags.sum(axis=1) > 0]
    if not len(heard):
        raise PeerError("stream", "no client heard anything")
    everything = heard.sum(axis=0)
    return {
        "clients": len(lags),
        "silent_clients": len(lags) - len(heard),
        "assets": ASSETS,
        "events_per_second": round(int(everything.sum()) / seconds),
        "lag_ms_p50": percentile_of(everything, 50),
        "lag_ms_p99": percentile_of(everything, 99),
        "lag_ms_max": int(np.flatnonzero(everything)[-1]),
        "worst_client_lag_ms_p99": max(percentile_of(client, 99) for client in heard),
        "seconds": seconds,
    }


def percentile_of(counts: NDArray[np.signedinteger[Any]], percent: float) -> int:
    """The lag that so many percent of the events do not exceed; `counts` are by ms."""
    cumulated = np.cumsum(counts)
    return int(np.searchsorted(cumulated, max(1.0, percent / 100 * cumulated[-1])))
