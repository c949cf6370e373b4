"""Does anything drift? A whole node under steady load: latency, memory, threads and descriptors over time.

Rules: open loop at a fixed rate over HTTP, sample after sample; the first and the last quarter of the samples are
compared, so a short run says less than a long one. Memory is the proportional set size of every process of the node.
"""

import contextlib
import os
import statistics
from pathlib import Path
from typing import Any

from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.progress import Progress
from benchmarks.servers.node import Node, pids_by_name, start_whole
from benchmarks.servers.processes import cores, cpu_ns, descriptor_count, family_of, pss_bytes, thread_count

MIB = 1024 * 1024
CONNECTIONS = 64
SAMPLES_MIN = 8
# The first seconds hold imports that come late and caches that fill: they are no drift.
SETTLE_SECONDS = 3.0


def measure_soak(folder: Path, seconds: float, rate: int, workers: int, progress: Progress) -> dict[str, Any]:
    """Load a whole node for so long; samples, and how the last quarter differs from the first."""
    with contextlib.ExitStack() as stopping:
        progress.step(f"starting a whole node with {workers} request workers")
        node = start_whole(folder, workers)
        stopping.callback(node.stop)
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
    return {"rate": rate, "workers": workers, "samples": samples, "drift": drift_of(samples)}


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


def drift_of(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Median of the last quarter of the samples against that of the first, for each thing that must not grow."""
    quarter = max(1, len(samples) // 4)
    readings = {
        "p50_us": [sample["latency_us"]["p50"] for sample in samples],
        "p99_us": [sample["latency_us"]["p99"] for sample in samples],
        **{name: [sample[name] for sample in samples] for name in ("pss_mib", "threads", "descriptors", "processes")},
    }
    found = {}
    for name, values in readings.items():
        first, last = statistics.median(values[:quarter]), statistics.median(values[-quarter:])
        found[name] = {"first": round(first, 2), "last": round(last, 2), "change": round(last - first, 2)}
    faults: dict[str, int] = {}
    for sample in samples:
        for fault, count in sample["faults"].items():
            faults[fault] = faults.get(fault, 0) + count
    return {**found, "faults": faults}
