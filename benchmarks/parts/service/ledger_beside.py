"""What the ledger costs a node under a full load that lasts, and how long it needs afterwards to have everything.

Rules: one worker on one core; client, flusher, PostgreSQL and all else on the other. Windows with the ledger at work
alternate with short ones in which flusher and PostgreSQL are suspended, for less than the supervisor's patience with a
silent process; what piled up meanwhile is carried in the next window, so the price is rather over- than understated.
In both kinds the worker writes its records: `trinity bench access` has what a record costs. A turn is a minute: ten of
them say what a load is answered at when the lag has no room left to grow into.
"""

import contextlib
import os
import signal
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped] # it ships no types

from benchmarks.errors import PeerError
from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.progress import Progress
from benchmarks.servers.node import Node, pids_by_name, start_whole
from benchmarks.servers.processes import cores, family_of
from trinity.memory.node import NodeMemory
from trinity.observe.readings import read_ledger

CONNECTIONS = 64
OFF_SECONDS, ON_SECONDS = 3.0, 57.0
SETTLE_SECONDS = 2.0
DRAINED_SECONDS_MAX = 120.0
_POLL_SECONDS = 0.1


def measure_ledger_beside(
    folder: Path, turns: int, progress: Progress, on_seconds: float = ON_SECONDS
) -> dict[str, Any]:
    """Throughput with and without the ledger's processes, turn by turn, and the seconds until nothing waits."""
    with contextlib.ExitStack() as stopping:
        progress.step("starting a whole node with one request worker")
        node = start_whole(folder, 1)
        stopping.callback(node.stop)
        _part_cores(node)
        pids, memory = pids_by_name(node.name), NodeMemory.attach(node.name)
        generator = HttpGenerator(node.http_target(), CONNECTIONS)
        stopping.callback(generator.close)
        generator.run(Load(SETTLE_SECONDS))
        rates: dict[str, list[float]] = {"on": [], "off": []}
        lags: list[int] = []
        for turn in range(turns):
            progress.step(f"ledger beside the load {turn + 1}/{turns}")
            with _suspended(pids):
                rates["off"].append(generator.run(Load(OFF_SECONDS)).per_second)
            rates["on"].append(generator.run(Load(on_seconds)).per_second)
            lags.append(_lag(memory))
        seconds = _drain(memory)
    on, off = (statistics.median(rates[which]) for which in ("on", "off"))
    ratios = [one / other for one, other in zip(rates["on"], rates["off"], strict=True)]
    return {
        "seconds": round(turns * (on_seconds + OFF_SECONDS)),
        "on_per_second": round(on),
        "off_per_second": round(off),
        "ratio": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "lag_records": lags,
        "drained_seconds": round(seconds, 1),
    }


def _part_cores(node: Node) -> None:
    """The worker has one core alone; the node's other processes, all their threads, and this one have the other."""
    server_core, client_core = cores()
    os.sched_setaffinity(0, {client_core})
    for pid in family_of(node.server.pid):
        core = server_core if pid in node.worker_pids else client_core
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            for thread in psutil.Process(pid).threads():
                os.sched_setaffinity(thread.id, {core})


@contextlib.contextmanager
def _suspended(pids: dict[str, int]) -> Iterator[None]:
    """Flusher and PostgreSQL stand still meanwhile."""
    database = psutil.Process(pids["database"]).children(recursive=True)
    family = [psutil.Process(pids["flusher"]), *database]
    for process in family:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def _lag(memory: NodeMemory) -> int:
    """Records that wait; -1 where nobody says so."""
    ledger = read_ledger(memory, time.monotonic_ns())
    return ledger.lag_records if ledger is not None and ledger.flusher_alive else -1


def _drain(memory: NodeMemory) -> float:
    """The seconds until no record waits any more."""
    started = time.monotonic()
    while (lag := _lag(memory)) != 0:
        if time.monotonic() - started > DRAINED_SECONDS_MAX:
            raise PeerError("flusher", f"{lag:,} records still wait {DRAINED_SECONDS_MAX:g} s after the load")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - started
