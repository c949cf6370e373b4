"""What pipelining gains, and how late answers are at half of the peak rate.

Rules: both on one request worker on one core, 64 connections. Pipelining compares closed loops in turns. The open
loop runs at half of the rate that the closed loop just reached, so it says what a user sees on a node that is half
busy; latencies count from the time at which a request was due.
"""

import contextlib
import statistics
from pathlib import Path
from typing import Any

from benchmarks.generators.histogram import Latencies
from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.progress import Progress
from benchmarks.servers.one_worker import CONNECTIONS, WARM_SECONDS, run_with_cpu, start_one_worker

DEPTHS = (1, 16)


def measure_pipelining(folder: Path, turns: int, seconds: float, progress: Progress) -> dict[str, Any]:
    """Requests a second and processor time with 1 and with 16 requests in one write, medians of the turns."""
    with contextlib.ExitStack() as stopping:
        node = start_one_worker(folder, stopping, progress)
        generators = {depth: HttpGenerator(node.http_target(), CONNECTIONS, depth) for depth in DEPTHS}
        found: dict[int, list[tuple[float, float]]] = {depth: [] for depth in DEPTHS}
        faults: dict[str, int] = {}
        for turn in range(turns):
            for depth, generator in generators.items():
                progress.step(f"turn {turn + 1}/{turns}: pipelining {depth}")
                generator.run(Load(WARM_SECONDS))
                outcome, cpu_us = run_with_cpu(generator, node.worker_pids, Load(seconds))
                found[depth].append((outcome.per_second, cpu_us))
                faults |= outcome.faults
        for generator in generators.values():
            generator.close()
    rows = [
        {
            "pipelining": depth,
            "per_second": round(statistics.median(rate for rate, _ in turns_of), 1),
            "cpu_us": round(statistics.median(us for _, us in turns_of), 3),
        }
        for depth, turns_of in found.items()
    ]
    gains = [deep[0] / plain[0] for plain, deep in zip(found[DEPTHS[0]], found[DEPTHS[1]], strict=True)]
    return {"rows": rows, "gain": round(statistics.median(gains), 2), "faults": faults}


def measure_half_peak(folder: Path, turns: int, seconds: float, progress: Progress) -> dict[str, Any]:
    """Latency percentiles of the open loop at half of the peak rate, over all turns and as the median turn."""
    with contextlib.ExitStack() as stopping:
        node = start_one_worker(folder, stopping, progress)
        generator = HttpGenerator(node.http_target(), CONNECTIONS)
        stopping.callback(generator.close)
        together = Latencies()
        rows = []
        for turn in range(turns):
            progress.step(f"turn {turn + 1}/{turns}: peak, then open loop at half of it")
            peak = generator.run(Load(seconds))
            half = generator.run(Load(seconds, rate=int(peak.per_second / 2)))
            together.add(half.latencies)
            rows.append({"peak_per_second": round(peak.per_second, 1), **half.as_dict()})
    return {
        "turns": rows,
        "all_turns_us": together.summary_us(),
        "p99_us": round(statistics.median(row["latency_us"]["p99"] for row in rows), 1),
        "rate": round(statistics.median(row["per_second"] for row in rows), 1),
    }
