"""The one list of a node's processes: who runs, in which order, and with which memory."""

import dataclasses
import os
import uuid
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest

from tests.support.node_fixture import busy_node
from trinity.config import (
    BackupSection,
    Config,
    LookupsSection,
    NodeSection,
    PushSection,
    RequestSection,
    StoresSection,
    services_of,
)
from trinity.config_checks import SPARES
from trinity.errors import ConfigError
from trinity.markets import load_catalog
from trinity.memory.access import AccessMemory
from trinity.memory.delivery_ring import DeliveryRing
from trinity.memory.miss_queue import MissQueues, MissWakes
from trinity.memory.node import NodeMemory
from trinity.memory.usage_ring import UsageRing
from trinity.net.ports import listeners_of
from trinity.node import roles
from trinity.node.plan import NodePlan
from trinity.node.roles import ROLES, SharedMemory, card_of, instances_of
from trinity.process import (
    ClusterMemory,
    ConsensusMemory,
    FeedMemory,
    NodeView,
    ProcessContext,
    PushMemory,
    ResolverMemory,
    WorkerMemory,
)
from trinity.services import SERVICES, ServerType, Service

CATALOG = load_catalog()
FEEDS = [f"feed-{exchange}" for exchange in CATALOG.exchanges]


def _plan(with_simulator: bool = False, workers: int = 2) -> NodePlan:
    name = f"t-{uuid.uuid4().hex[:12]}"
    config = Config(node=NodeSection(name=name), request=RequestSection(workers=workers))
    return NodePlan(config, CATALOG, with_simulator, uuid.UUID(int=1))


def test_a_node_has_these_processes_and_no_simulator() -> None:
    """One feed an exchange, one consensus, the workers, health; the live node has no simulator."""
    names = [entry.name for entry in card_of(_plan()).processes]
    assert names == [
        "database",
        "access",
        "operator",
        *FEEDS,
        "resolver",
        "consensus",
        "flusher",
        "worker-0",
        "worker-1",
        "worker-2",
        "reporter-0",
        "reporter-1",
        "health",
    ]


def test_backups_are_made_where_there_is_a_target() -> None:
    """BACKUP_TARGET set: every node has the process, whatever its type is."""
    plan = _plan()
    config = msgspec.structs.replace(plan.config, backup=BackupSection(target="/mnt/backups", recipients=("age1",)))
    assert "backup" in [entry.name for entry in card_of(plan._replace(config=config)).processes]


def test_a_demo_has_the_simulator_beside_them() -> None:
    """Only when it is asked for."""
    entries = card_of(_plan(with_simulator=True, workers=1)).processes
    names = [entry.name for entry in entries]
    assert names == [
        "database",
        "access",
        "operator",
        "simulator",
        *FEEDS,
        "resolver",
        "consensus",
        "flusher",
        "worker-0",
        "worker-1",
        "reporter-0",
        "reporter-1",
        "health",
    ]
    assert {entry.kind for entry in entries} == {name.partition("-")[0] for name in names}


def test_a_node_with_a_database_of_its_own_does_not_start_one() -> None:
    """DATABASE_URL set: no process `database`."""
    plan = _plan()
    config = msgspec.structs.replace(plan.config, stores=StoresSection(database_url="postgresql://host/name"))
    assert "database" not in [entry.name for entry in card_of(plan._replace(config=config)).processes]


def test_a_node_with_a_cache_speaks_with_the_others() -> None:
    """CACHE_URL set: whatever its type, it has a process `cluster`."""
    for server_type in TYPES:
        plan = _typed(server_type)
        config = msgspec.structs.replace(plan.config, stores=StoresSection(cache_url="valkey://host"))
        assert "cluster" in [entry.name for entry in card_of(plan._replace(config=config)).processes]
    wrong = msgspec.structs.replace(plan.config, stores=StoresSection(cache_url="http://host"))
    with pytest.raises(ConfigError, match="CACHE_URL"):
        card_of(plan._replace(config=wrong))


def test_workers_follow_the_cpus_unless_their_number_is_set() -> None:
    """Zero means one for each CPU that the node may use."""
    entries = card_of(_plan(workers=0)).processes
    assert sum(entry.kind == "worker" for entry in entries) == len(os.sched_getaffinity(0)) + SPARES


def test_workers_drain_before_what_they_live_from() -> None:
    """Health is the first to start and the last to go, so that every moment of a node can be seen."""
    stages = {role.kind: role.stage for role in ROLES}
    assert stages["worker"] < stages["consensus"] <= stages["feed"] < stages["health"]
    assert stages["feed"] < stages["simulator"]


def test_only_what_a_node_cannot_become_ready_without_ends_a_start() -> None:
    """An exchange, the ledger, the reports or a database that cannot start leave the prices alone."""
    vital = {role.kind for role in ROLES if role.vital}
    assert vital == {"simulator", "consensus", "worker", "health"}


def _typed(server_type: str, *, push: bool = False) -> NodePlan:
    plan = _plan()
    node = msgspec.structs.replace(plan.config.node, server_type=server_type)
    return plan._replace(config=msgspec.structs.replace(plan.config, node=node, push=PushSection(on=push)))


def test_every_role_says_on_which_nodes_it_runs() -> None:
    """A node that answers runs all but the pusher, which it runs when it is told to; the rest is of a demo."""
    assert all(set(role.services) <= set(get_args(Service)) and role.services for role in ROLES)
    plan = _plan()
    assert {role.kind for role, _ in instances_of(plan)} == {role.kind for role in ROLES} - {
        "simulator",
        "receiver",
        "pusher",
        "cluster",
        "backup",
    }
    pushing = msgspec.structs.replace(plan.config, push=PushSection(on=True))
    assert "pusher" in {role.kind for role, _ in instances_of(plan._replace(config=pushing))}


# What each type has beside what all have: processes, and listeners.
ALL_HAVE = {"database", "operator", "feed", "consensus", "flusher", "health"}
OF_LOOKUPS = {"TCP_PORT_LPO", "UDP_PORT_LPO", "HEALTH_PORT_LPO"}
OF_REPORTS = {"TCP_PORT_LRS", "UDP_PORT_LRS", "HEALTH_PORT_LRS"}
TYPES: dict[str, tuple[set[str], set[str]]] = {
    "APP_REPORT_SERVER": ({"access", "worker", "reporter", "resolver"}, OF_LOOKUPS | OF_REPORTS),
    "WEBHOOK_SERVER": ({"pusher"}, {"HEALTH_PORT_LPO"}),
    "APP_SERVER": ({"access", "worker", "resolver"}, OF_LOOKUPS),
    "REPORT_SERVER": ({"access", "reporter", "resolver"}, OF_REPORTS),
    "ALL": ({"access", "worker", "reporter", "resolver", "pusher"}, OF_LOOKUPS | OF_REPORTS),
}


def test_every_type_is_here() -> None:
    """A new one needs a row."""
    assert set(TYPES) == set(SERVICES) == set(get_args(ServerType))


@pytest.mark.parametrize("server_type", TYPES)
def test_a_type_has_its_own_processes_and_listeners_and_no_others(server_type: str) -> None:
    """All of them have prices, the ledger and the jobs; nobody's keys are where nobody is answered."""
    plan = _typed(server_type)
    kinds, names = TYPES[server_type]
    assert {role.kind for role, _ in instances_of(plan)} == ALL_HAVE | kinds
    assert {listener.name for listener in listeners_of(plan.config, with_simulator=False)} == names
    assert (card_of(plan).server_type, card_of(plan).services) == (server_type, services_of(plan.config))


@pytest.mark.parametrize("server_type", TYPES)
def test_push_adds_the_deliveries_to_every_type_and_changes_nothing_where_they_are(server_type: str) -> None:
    """With the health of the whole node on 8081."""
    without, plan = _typed(server_type), _typed(server_type, push=True)
    assert {role.kind for role, _ in instances_of(plan)} == {role.kind for role, _ in instances_of(without)} | {
        "pusher"
    }
    opened, before = (listeners_of(of.config, with_simulator=False) for of in (plan, without))
    assert {listener.name for listener in opened} == {listener.name for listener in before} | {"HEALTH_PORT_LPO"}


def test_without_assets_beyond_the_catalog_nobody_resolves_them() -> None:
    """BEYOND_CATALOG=off: there is no such process."""
    plan = _plan()
    off = msgspec.structs.replace(plan.config, lookups=LookupsSection(beyond_catalog=False))
    assert "resolver" not in {role.kind for role, _ in instances_of(plan._replace(config=off))}


def test_a_report_server_s_first_reporter_has_the_first_ring(shared: SharedMemory) -> None:
    """Where there are no workers, none stand before it."""
    assert shared.asker_of_reporter(_typed("REPORT_SERVER"), 0).answered_fd == 9
    assert shared.asker_of_reporter(_typed("APP_REPORT_SERVER"), 0).answered_fd == 12
    assert shared.ring_of_reporter(_typed("REPORT_SERVER"), 0) is shared.rings.usage[0]
    assert shared.ring_of_reporter(_typed("APP_REPORT_SERVER"), 0) is shared.rings.usage[3]


@pytest.fixture
def shared() -> Iterator[SharedMemory]:
    with busy_node() as node:
        rings = roles.Rings(tuple(object.__new__(UsageRing) for _ in range(5)), (object.__new__(DeliveryRing),))
        asking = dataclasses.replace(node, misses=MissQueues.private(5))
        yield SharedMemory(asking, AccessMemory.private(), rings, 7, MissWakes(8, (9, 10, 11, 12, 13)))


# What each role is handed of the node's memory; the database, the operator and the simulator get nothing.
HANDED: dict[str, tuple[type, ...]] = {
    "database": (),
    "access": (AccessMemory,),
    "operator": (NodeMemory,),
    "simulator": (),
    "feed": (FeedMemory,),
    "resolver": (ResolverMemory,),
    "consensus": (ConsensusMemory,),
    "flusher": (tuple,),
    "backup": (),
    "cluster": (ClusterMemory,),
    "pusher": (PushMemory,),
    "receiver": (),
    "worker": (WorkerMemory, tuple),  # the paths of the reporting service
    "reporter": (NodeView, AccessMemory, UsageRing),
    "health": (NodeView,),  # and the listeners
}
_MEMORY = (
    SharedMemory,
    NodeMemory,
    AccessMemory,
    FeedMemory,
    ConsensusMemory,
    ResolverMemory,
    ClusterMemory,
    WorkerMemory,
    PushMemory,
    NodeView,
    UsageRing,
    tuple,
)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.kind)
def test_a_role_is_handed_the_memory_that_it_needs_and_no_other(
    role: roles.Role, shared: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its `run` gets the context, then its memory; a worker the ring of its number, a reporter one behind them."""
    given: list[Any] = []
    for module in (
        roles.trinity.node.database,
        roles.workers.access.process,
        roles.feeds.simulator.server,
        roles.feeds.ingest.process,
        roles.feeds.resolver.process,
        roles.feeds.consensus.process,
        roles.workers.ledger.process,
        roles.workers.backup.process,
        roles.workers.cluster.process,
        roles.workers.operator.process,
        roles.workers.push.process,
        roles.workers.receiver.process,
        roles.workers.request.loop,
        roles.workers.api.server,
        roles.workers.health.server,
    ):
        monkeypatch.setattr(module, "run", lambda *arguments, **_: given.extend(arguments))
    monkeypatch.setattr(roles, "open_candles", lambda *_: [])
    for recorder in ("FrameRecorder", "DecisionRecorder"):
        monkeypatch.setattr(roles, recorder, lambda *_: None)
    monkeypatch.setattr(roles, "LocalLookups", lambda *_: None)
    context: Any = object.__new__(ProcessContext)
    object.__setattr__(context, "catalog", CATALOG)
    role.start(context, shared, _plan(), "1")
    assert given[0] is context
    assert tuple(type(value) for value in given[1:] if type(value) in _MEMORY) == HANDED[role.kind]
    if role.kind == "worker":
        assert given[1].ring is shared.rings.usage[1]
        assert given[1].asker.answered_fd == 10
    if role.kind == "reporter":
        assert given[3] is shared.rings.usage[4]
