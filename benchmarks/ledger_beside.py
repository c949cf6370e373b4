"""What the ledger costs a node under full load, and how long it needs afterwards to have everything in the database.

Rules: one worker; the flusher is put on the worker's own core, the client on the other. Windows with the flusher and
PostgreSQL at work alternate with windows in which both are suspended; what piled up meanwhile is carried in the next
window, so the price is rather over- than understated. In both kinds the worker writes its records: `trinity bench
access` has what a record costs. A window without is shorter than the supervisor's patience with a silent process; one
with the ledger is longer, so that what the flusher puts off shows in the lag.
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
from benchmarks.generator_http import HttpGenerator
from benchmarks.load import Load
from benchmarks.node import Node, pids_by_name, start_whole
from benchmarks.processes import cores
from benchmarks.progress import Progress
from trinity.memory.node import NodeMemory
from trinity.observe.readings import read_ledger

CONNECTIONS = 64
OFF_SECONDS, ON_SECONDS = 3.0, 12.0
SETTLE_SECONDS = 2.0
DRAINED_SECONDS_MAX = 120.0
_POLL_SECONDS = 0.1


def measure_ledger_beside(folder: Path, turns: int, progress: Progress) -> dict[str, Any]:
    """Throughput with and without the ledger's processes, turn by turn, and the seconds until nothing waits."""
    with contextlib.ExitStack() as stopping:
        progress.step("starting a whole node with one request worker")
        node = start_whole(folder, 1)
        stopping.callback(node.stop)
        server_core, client_core = cores()
        os.sched_setaffinity(0, {client_core})
        pids = pids_by_name(node.name)
        os.sched_setaffinity(pids["flusher"], {server_core})
        for thread in psutil.Process(pids["flusher"]).threads():
            os.sched_setaffinity(thread.id, {server_core})
        generator = HttpGenerator(node.http_target(), CONNECTIONS)
        stopping.callback(generator.close)
        generator.run(Load(SETTLE_SECONDS))
        rates: dict[str, list[float]] = {"on": [], "off": []}
        for turn in range(turns):
            progress.step(f"ledger beside the load {turn + 1}/{turns}")
            with _suspended(pids):
                rates["off"].append(generator.run(Load(OFF_SECONDS)).per_second)
            rates["on"].append(generator.run(Load(ON_SECONDS)).per_second)
        lag, seconds = _drain(node)
    on, off = (statistics.median(rates[which]) for which in ("on", "off"))
    ratio = statistics.median(one / other for one, other in zip(rates["on"], rates["off"], strict=True))
    return {
        "on_per_second": round(on),
        "off_per_second": round(off),
        "ratio": round(ratio, 3),
        "lag_records": lag,
        "drained_seconds": round(seconds, 1),
    }


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


def _drain(node: Node) -> tuple[int, float]:
    """Records that wait when the load ends, and the seconds until none does."""
    memory = NodeMemory.attach(node.name)
    started = time.monotonic()
    most = 0  # no record may wait any more when the load was light
    while time.monotonic() - started < DRAINED_SECONDS_MAX:
        ledger = read_ledger(memory, time.monotonic_ns())
        lag = ledger.lag_records if ledger is not None and ledger.flusher_alive else -1
        most = max(most, lag)
        if lag == 0:
            return most, time.monotonic() - started
        time.sleep(_POLL_SECONDS)
    raise PeerError("flusher", f"{most:,} records still wait {DRAINED_SECONDS_MAX:g} s after the load")
