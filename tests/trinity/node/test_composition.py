"""What is composed before the first fork: the list of processes, their seats, the simulated exchanges."""

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

from feeds.exchanges.registry import EXCHANGE_MODULES
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import Config, FeedsSection, NodeSection, RequestSection, SimulatorSection, StoresSection
from trinity.markets import load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.node import NodeMemory
from trinity.memory.usage_ring import append_record
from trinity.node import composition
from trinity.node.composition import (
    Plan,
    build_processes,
    card_of,
    create_memory,
    prepare_rings,
    with_simulated_exchanges,
)
from trinity.node.data_dir import open_rings
from trinity.observe.metrics import FLUSHER

CATALOG = load_catalog()
LOG = logging.getLogger("tests.composition")
FEEDS = [f"feed-{exchange}" for exchange in CATALOG.exchanges]


def _plan(with_simulator: bool = False, workers: int = 2) -> Plan:
    name = f"t-{uuid.uuid4().hex[:12]}"
    config = Config(node=NodeSection(name=name), request=RequestSection(workers=workers))
    return Plan(config, CATALOG, with_simulator, uuid.UUID(int=1))


@pytest.fixture
def memory_of_two_workers() -> Iterator[tuple[Plan, NodeMemory]]:
    plan = _plan()
    memory = create_memory(card_of(plan))
    yield plan, memory
    memory.unlink()


def test_the_card_says_what_the_node_is_for() -> None:
    """NODE_ENV as it was configured, for /health."""
    plan = _plan()
    node = msgspec.structs.replace(plan.config.node, environment="staging")
    assert card_of(plan).environment == "production"
    assert card_of(plan._replace(config=msgspec.structs.replace(plan.config, node=node))).environment == "staging"


def test_a_node_has_these_processes_and_no_simulator() -> None:
    """One feed an exchange, one consensus, the workers, health; the live node has no simulator."""
    names = [entry.name for entry in card_of(_plan()).processes]
    assert names == [
        "database",
        "access",
        *FEEDS,
        "consensus",
        "flusher",
        "worker-0",
        "worker-1",
        "reporter-0",
        "health",
    ]


def test_a_demo_has_the_simulator_beside_them() -> None:
    """Only when it is asked for."""
    entries = card_of(_plan(with_simulator=True, workers=1)).processes
    names = [entry.name for entry in entries]
    assert names == [
        "database",
        "access",
        "simulator",
        *FEEDS,
        "consensus",
        "flusher",
        "worker-0",
        "reporter-0",
        "health",
    ]
    assert {entry.kind for entry in entries} == {name.partition("-")[0] for name in names}


def test_a_node_with_a_database_of_its_own_does_not_start_one() -> None:
    """DATABASE_URL set: no process `database`."""
    plan = _plan()
    config = msgspec.structs.replace(plan.config, stores=StoresSection(database_url="postgresql://host/name"))
    assert "database" not in [entry.name for entry in card_of(plan._replace(config=config)).processes]


def test_workers_follow_the_cpus_unless_their_number_is_set() -> None:
    """Zero means one for each CPU that the node may use."""
    entries = card_of(_plan(workers=0)).processes
    assert sum(entry.kind == "worker" for entry in entries) == len(os.sched_getaffinity(0))


def test_workers_drain_before_what_they_live_from() -> None:
    """Health is the first to start and the last to go, so that every moment of a node can be seen."""
    stages = {role.kind: role.stage for role in composition.ROLES}
    assert stages["worker"] < stages["consensus"] <= stages["feed"] < stages["health"]
    assert stages["feed"] < stages["simulator"]


def test_only_what_a_node_cannot_become_ready_without_ends_a_start() -> None:
    """An exchange, the ledger, the reports or a database that cannot start leave the prices alone."""
    vital = {role.kind for role in composition.ROLES if role.vital}
    assert vital == {"simulator", "consensus", "worker", "health"}


def test_each_process_has_its_own_seat(memory_of_two_workers: tuple[Plan, NodeMemory]) -> None:
    """Own block, own control eventfd, one wake eventfd for all; the order is that of the card."""
    plan, memory = memory_of_two_workers
    access = AccessMemory.private()
    processes = build_processes(plan, memory, access)
    seats = [process.run.seat for process in processes]  # type: ignore[attr-defined]
    assert [seat.name for seat in seats] == [entry.name for entry in memory.card.processes]
    assert [seat.index for seat in seats] == list(range(len(seats)))
    assert len({seat.wake_fd for seat in seats}) == 1
    assert all(seat.keys is access.keys and seat.limits is access.limits for seat in seats)
    assert all(seat.addresses is access.addresses and seat.blocks is access.blocks for seat in seats)
    assert len({seat.control_fd for seat in seats}) == len(seats)
    for seat, process in zip(seats, processes, strict=True):
        assert process.control_fd == seat.control_fd
        seat.block.write(0, 100 + seat.index)
        os.close(seat.control_fd)
    assert [memory.control.block(i).read(0) for i in range(len(seats))] == [100 + i for i in range(len(seats))]
    os.close(seats[0].wake_fd)


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


def test_doctor_asks_every_exchange_what_a_feed_would_ask() -> None:
    """One REST request of the exchange's own file, at the configured base address."""
    section = FeedsSection(rest_base_urls={"okx": "http://127.0.0.1:1/okx"})
    for exchange in CATALOG.exchanges:
        url = composition._cheap_url(section, CATALOG, exchange)
        base = "http://127.0.0.1:1/okx" if exchange == "okx" else EXCHANGE_MODULES[exchange].PROFILE.rest_url
        assert url.startswith(f"{base}/")


def test_rings_are_emptied_and_moved_on_before_anybody_writes(
    memory_of_two_workers: tuple[Plan, NodeMemory], tmp_path: Path
) -> None:
    """What a former life left is in the spool, and counted as taken over by the flusher; no position comes again."""
    plan, memory = memory_of_two_workers
    config = msgspec.structs.replace(plan.config, node=NodeSection(data_dir=tmp_path))
    (former, _) = open_rings(tmp_path, 2, config.ledger.ring_records, 1000, LOG)
    assert append_record(former.words, 1, np.zeros(2, dtype=np.uint64), np.zeros(2, dtype=np.uint64), *[0] * 7)
    rings = prepare_rings(config, memory, SystemClock(), LOG)
    assert [ring.number for ring in rings] == [0, 1]
    now = SystemClock().wall_ns() // NS_PER_SECOND
    for ring in rings:
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
        "card = card_of(Plan(config, load_catalog(), False, None));"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536));"
        "create_memory(card)"
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
    cache = Path(os.environ["NUMBA_CACHE_DIR"])
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled" / cache.name).symlink_to(cache)
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=500,
        check=True,
    )  # fmt: skip
    assert run.stdout.strip() == "1"


def test_compiled_code_is_found_by_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start says that it compiles only where there is nothing yet."""
    assert composition.has_compiled_code()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not composition.has_compiled_code()
