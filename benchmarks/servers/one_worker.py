"""One request worker on a core of its own: how it is started and loaded, and what it takes of the processor.

Rules: a worker that was not loaded before is warmed for WARM_SECONDS, so that no first connection is measured.
"""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load, Outcome
from benchmarks.generators.udp import UdpGenerator
from benchmarks.progress import Progress
from benchmarks.servers.node import Node, start_bare
from benchmarks.servers.processes import cores, cpu_ns

WARM_SECONDS = 0.3
# The load of the figures: enough connections to keep one core busy, few enough that nothing queues for long.
CONNECTIONS = 64


def start_one_worker(folder: Path, stopping: contextlib.ExitStack, progress: Progress) -> Node:
    """The bare worker on the server's core, until `stopping` ends it."""
    progress.step("starting one request worker")
    node = start_bare(folder, cores()[0])
    stopping.callback(node.stop)
    return node


def run_with_cpu(generator: HttpGenerator | UdpGenerator, pids: Sequence[int], wanted: Load) -> tuple[Outcome, float]:
    """One run, and the processor microseconds that the processes took for each right answer; infinite without one."""
    before_ns = cpu_ns(pids)
    outcome = generator.run(wanted)
    used_ns = cpu_ns(pids) - before_ns
    return outcome, used_ns / 1_000 / outcome.answered if outcome.answered else math.inf
