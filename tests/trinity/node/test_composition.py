"""What is composed before the first fork: the list of processes, their contexts, the simulated exchanges."""

import logging
import os
import resource
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.support.machine_code import share_machine_code
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config, NodeSection, RequestSection, SimulatorSection
from trinity.config_checks import SPARES
from trinity.markets import load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.node import NodeMemory
from trinity.memory.usage_ring import UsageRing, append_record
from trinity.node.composition import (
    build_processes,
    create_memory,
    prepare_rings,
    with_simulated_exchanges,
)
from trinity.node.data_dir import open_rings
from trinity.node.plan import NodePlan, RunningPlan
from trinity.node.roles import card_of
from trinity.observe.metrics import FLUSHER

CATALOG = load_catalog()
LOG = logging.getLogger("tests.composition")
FEEDS = [f"feed-{exchange}" for exchange in CATALOG.exchanges]


def _plan(with_simulator: bool = False, workers: int = 2) -> NodePlan:
    name = f"t-{uuid.uuid4().hex[:12]}"
    config = Config(node=NodeSection(name=name), request=RequestSection(workers=workers))
    return NodePlan(config, CATALOG, with_simulator, uuid.UUID(int=1))


@pytest.fixture
def memory_of_two_workers() -> Iterator[tuple[NodePlan, NodeMemory]]:
    plan = _plan()
    memory = create_memory(card_of(plan), plan.config)
    yield plan, memory
    memory.unlink()


def test_each_process_has_its_own_context(memory_of_two_workers: tuple[NodePlan, NodeMemory]) -> None:
    """Own block, own control eventfd, one wake eventfd for all; the order is that of the card."""
    plan, memory = memory_of_two_workers
    access = AccessMemory.private()
    processes = build_processes(RunningPlan(plan), memory, access)
    contexts = [process.run.context for process in processes]  # type: ignore[attr-defined]
    assert [context.name for context in contexts] == [entry.name for entry in memory.card.processes]
    assert [context.index for context in contexts] == list(range(len(contexts)))
    shared = {process.run.memory for process in processes}  # type: ignore[attr-defined]
    assert len(shared) == 1
    assert len({context.control_fd for context in contexts}) == len(contexts)
    for context, process in zip(contexts, processes, strict=True):
        assert process.control_fd == context.control_fd
        context.block.write(0, 100 + context.index)
        os.close(context.control_fd)
    assert [memory.control.block(i).read(0) for i in range(len(contexts))] == [100 + i for i in range(len(contexts))]
    os.close(shared.pop().wake_fd)


@pytest.mark.parametrize(
    ("bind_host", "host"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")]
)
def test_a_demo_points_every_feed_at_its_own_simulator(bind_host: str, host: str) -> None:
    """Same paths, other base addresses; nothing else of the configuration changes."""
    config = Config(node=NodeSection(bind_host=bind_host), simulator=SimulatorSection(port=1234))
    simulated = with_simulated_exchanges(config)
    assert simulated.feeds.simulated
    assert set(simulated.feeds.ws_base_urls) == set(CATALOG.exchanges) == set(simulated.feeds.rest_base_urls)
    assert simulated.feeds.ws_base_urls["kraken"] == f"ws://{host}:1234/kraken"
    assert simulated.feeds.rest_base_urls["okx"] == f"http://{host}:1234/okx"
    assert (simulated.node, simulated.ports, simulated.request) == (config.node, config.ports, config.request)


def test_rings_are_emptied_and_moved_on_before_anybody_writes(
    memory_of_two_workers: tuple[NodePlan, NodeMemory], tmp_path: Path
) -> None:
    """What a former life left is in the spool, and counted as taken over by the flusher; no position comes again."""
    plan, memory = memory_of_two_workers
    config = msgspec.structs.replace(plan.config, node=NodeSection(data_dir=tmp_path))
    (former, _) = open_rings(UsageRing, tmp_path, 2, config.ledger.ring_records, 1000, LOG)
    assert append_record(former.words, 1, np.zeros(2, dtype=np.uint64), np.zeros(2, dtype=np.uint64), *[0] * 7)
    rings = prepare_rings(config, memory, SystemClock(), LOG)
    assert [ring.number for ring in rings.usage] == [*range(2 + SPARES + 1 + SPARES)], "the workers' and the reporter's"
    assert rings.deliveries == (), "this node has no pusher, and none before it had"
    now = SystemClock().wall_ns() // NS_PER_SECOND
    for ring in rings.usage:
        assert ring.written == ring.released
        assert now - 60 <= ring.written >> 24 <= now + 2
    assert [path.name for path in (tmp_path / "usage" / "spool").iterdir()] == ["000000000001.seg"]
    flusher = [entry.kind for entry in memory.card.processes].index("flusher")
    assert memory.control.block(flusher).read_counter(FLUSHER.index("usage_records_total")) == 1


def test_no_room_for_shared_memory_is_said_before_anything_starts() -> None:
    """When the tables cannot be made, the message has the reason and the remedy, and nothing is left."""
    name = f"t-{uuid.uuid4().hex[:12]}"
    script = (
        "import resource, signal, sys; from trinity.node.composition import *; from trinity.config import NodeSection;"
        "config = Config(node=NodeSection(name=sys.argv[1]));"
        "card = card_of(NodePlan(config, load_catalog(), False, None));"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536));"
        "create_memory(card, config)"
    )
    run = subprocess.run([sys.executable, "-c", script, name], capture_output=True, text=True, timeout=120)
    assert "ConfigError: configuration: shared memory: File too large: 64 MB are enough" in run.stderr
    assert not list(Path("/dev/shm").glob(f"trinity-{name}-*"))


def test_the_file_limit_is_raised_as_far_as_the_machine_permits() -> None:
    """In a process of its own, because a limit stays."""
    script = (
        "import resource; from trinity.node.composition import raise_file_limit;"
        "_, hard = resource.getrlimit(resource.RLIMIT_NOFILE);"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard));"
        "raise_file_limit(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert int(run.stdout) == (65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536))


def test_nothing_in_the_composition_starts_a_thread(tmp_path: Path) -> None:
    """All rooms imported and all code compiled, the supervisor still has one thread and may fork."""
    script = (
        "import os, sys; from pathlib import Path; from trinity.compiled import prepare_cache;"
        "prepare_cache(Path(sys.argv[1])); from trinity.node.composition import compile_before_fork;"
        "compile_before_fork(); print(len(os.listdir('/proc/self/task')))"
    )
    share_machine_code(tmp_path)
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=500,
        check=True,
    )  # fmt: skip
    assert run.stdout.strip() == "1"
