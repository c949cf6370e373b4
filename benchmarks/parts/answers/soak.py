"""Does anything drift? A whole node under steady load: latency, memory, threads and descriptors over time.

Rules: open loop at a fixed rate over HTTP, sample after sample, while the exchanges send at a fixed rate as well. What
drifts is told by the slope of a line through all samples and by its standard error: a slope within two of those is none
that can be seen. Memory is the proportional set size of every process of the node.
"""

import contextlib
import os
import statistics
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.errors import PeerError
from benchmarks.feeds.sent_node import start_sent_node
from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.progress import Progress
from benchmarks.servers.node import Node, pids_by_name, start_whole
from benchmarks.servers.processes import cores, cpu_ns, descriptor_count, family_of, pss_bytes, thread_count

MIB = 1024 * 1024
SECONDS_PER_HOUR = 3_600
CONNECTIONS = 64
SAMPLES_MIN = 8
# The first seconds hold imports that come late and caches that fill: they are no drift.
SETTLE_SECONDS = 3.0


def measure_soak(
    folder: Path, seconds: float, rate: int, quotes_per_second: int, workers: int, progress: Progress
) -> dict[str, Any]:
    """Load a whole node for so long; samples, and what drifts from the first to the last of them."""
    with contextlib.ExitStack() as stopping:
        progress.step(f"starting a whole node with {workers} request workers")
        node, sender, _ = start_sent_node(folder, stopping, quotes_per_second, workers)
        os.sched_setaffinity(0, {cores()[1]})
        generator = HttpGenerator(node.http_target(), CONNECTIONS)
        stopping.callback(generator.close)
        generator.run(Load(SETTLE_SECONDS, rate))
        count = max(SAMPLES_MIN, min(120, int(seconds / 5)))
        samples = []
        for number in range(count):
            progress.step(f"soak {number + 1}/{count}")
            outcome = generator.run(Load(seconds / count, rate))
            samples.append({**outcome.as_dict(), **resources_of(node)})
            if sender.ended_within(0):
                raise PeerError("wire_sender", f"has ended: see {sender.log_file}")
    drift = drift_of(samples, seconds)
    return {
        "rate": rate,
        "quotes_per_second": quotes_per_second,
        "workers": workers,
        "samples": samples,
        "drift": drift,
    }


def measure_memory(folder: Path, workers: int, progress: Progress) -> dict[str, Any]:
    """Proportional set size of each process of a whole node that has been loaded; the simulators count apart."""
    with contextlib.ExitStack() as stopping:
        progress.step(f"starting a whole node with {workers} request workers")
        node = start_whole(folder, workers)
        stopping.callback(node.stop)
        generator = HttpGenerator(node.http_target(), CONNECTIONS)
        stopping.callback(generator.close)
        progress.step("loading it for a moment")
        generator.run(Load(SETTLE_SECONDS, 2_000))
        by_name = {"supervisor": node.server.pid, **pids_by_name(node.name)}
        mib = {name: round(pss_bytes(pid) / MIB, 1) for name, pid in by_name.items()}
    simulator = mib.get("simulator", 0.0)
    return {
        "workers": workers,
        "pss_mib": mib,
        "node_mib": round(sum(mib.values()) - simulator, 1),
        "simulator_mib": simulator,
    }


def resources_of(node: Node) -> dict[str, Any]:
    """What the node's processes hold now, summed over all of them."""
    family = family_of(node.server.pid)
    return {
        "pss_mib": round(sum(pss_bytes(pid) for pid in family) / MIB, 2),
        "threads": thread_count(family),
        "descriptors": descriptor_count(family),
        "processes": len(family),
        "cpu_seconds": round(cpu_ns(family) / 1e9, 2),
    }


def drift_of(samples: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """For each thing that must not grow: the medians of the first and the last quarter of the samples, the slope of a
    line through all of them in an hour, and its standard error."""
    quarter = max(1, len(samples) // 4)
    hours = np.linspace(0, seconds / SECONDS_PER_HOUR, len(samples), endpoint=False)
    readings = {
        "p50_us": [sample["latency_us"]["p50"] for sample in samples],
        "p99_us": [sample["latency_us"]["p99"] for sample in samples],
        **{name: [sample[name] for sample in samples] for name in ("pss_mib", "threads", "descriptors", "processes")},
    }
    found: dict[str, Any] = {}
    for name, values in readings.items():
        first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
        slope, error = _slope(hours, np.array(values, dtype=float))
        numbers = {"first": first, "last": last, "slope_per_hour": slope, "error": error}
        found[name] = {number: round(value, 2) for number, value in numbers.items()}
    faults: dict[str, int] = {}
    for sample in samples:
        for fault, count in sample["faults"].items():
            faults[fault] = faults.get(fault, 0) + count
    return {**found, "faults": faults}


def _slope(hours: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[float, float]:
    """Ordinary least squares: the slope and its standard error; samples follow each other without a memory."""
    spread = hours - hours.mean()
    slope = float(spread @ values / (spread @ spread))
    rest = values - values.mean() - slope * spread
    return slope, float(np.sqrt(rest @ rest / (len(values) - 2) / (spread @ spread)))
