"""benchmarks/servers/one_worker.py"""

import contextlib
import math
from pathlib import Path
from types import SimpleNamespace

from benchmarks.generators.http import HttpGenerator
from benchmarks.generators.load import Load
from benchmarks.progress import Progress
from benchmarks.servers.one_worker import CONNECTIONS, run_with_cpu, start_one_worker
from benchmarks.servers.processes import family_of
from trinity.clock import SystemClock


def test_a_loaded_worker_costs_something_and_ends_with_the_measurement(tmp_path: Path) -> None:
    """A real worker: its answers have a price, and no process of it is left."""
    with contextlib.ExitStack() as stopping:
        node = start_one_worker(tmp_path, stopping, Progress(SystemClock(), quiet=True))
        with contextlib.closing(HttpGenerator(node.http_target(), CONNECTIONS)) as generator:
            outcome, us = run_with_cpu(generator, node.worker_pids, Load(0.3))
        assert outcome.answered > 0
        assert not outcome.faults
        assert 0 < us < 1_000
    assert node.server.ended_within(0)
    assert family_of(node.server.pid) == [node.server.pid], "nobody descends from it any more"


def test_without_an_answer_the_price_is_infinite() -> None:
    """Processor time for nothing looks like no figure."""
    silent = SimpleNamespace(run=lambda wanted: SimpleNamespace(answered=0))
    assert run_with_cpu(silent, [], Load(0.1))[1] == math.inf
