"""The 13 load levels, 1 to 4,096 connections or datagrams in flight: throughput and latency at each.

Rules: closed loop, so a level is the number of requests in flight; one run a level and protocol, after a short
warm-up. Levels are measured on one request worker on one core with the generator on another.
"""

import contextlib
from pathlib import Path
from typing import Any

from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.generators.udp import UdpGenerator
from benchmarks.progress import Progress
from benchmarks.servers.node import Node
from benchmarks.servers.one_worker import run_with_cpu, start_one_worker
from benchmarks.servers.processes import raise_file_limit

LEVELS = tuple(2**i for i in range(13))
WARM_SECONDS = 0.2
PROTOCOLS = ("http", "udp")


def measure_levels(folder: Path, seconds: float, progress: Progress) -> dict[str, Any]:
    """Every level of both protocols; each row is an outcome with its level and processor time a request."""
    raise_file_limit()
    with contextlib.ExitStack() as stopping:
        node = start_one_worker(folder, stopping, progress)
        return {
            protocol: [_row(node, protocol, level, seconds, progress) for level in LEVELS] for protocol in PROTOCOLS
        }


def _row(node: Node, protocol: str, level: int, seconds: float, progress: Progress) -> dict[str, Any]:
    progress.step(f"{protocol} level {level}")
    generator = _generator(node, protocol, level)
    try:
        generator.run(Load(WARM_SECONDS))
        outcome, cpu_us = run_with_cpu(generator, node.worker_pids, Load(seconds))
    finally:
        generator.close()
    return {"level": level, "cpu_us": round(cpu_us, 3), **outcome.as_dict()}


def _generator(node: Node, protocol: str, level: int) -> HttpGenerator | UdpGenerator:
    if protocol == "http":
        return HttpGenerator(node.http_target(), level)
    return UdpGenerator(node.udp_target(), level)
