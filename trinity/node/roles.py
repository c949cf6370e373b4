"""The roles of a node: the one list of its processes, with the memory and the settings that each gets.

Rules: a role names the services that it is for (trinity/services.py), and gets no more than it needs. `feeds` and
`workers` are imported here, before the fork: the children share the code's memory, and a restarted process is back at
once. Import this module only after `prepare_cache`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

import feeds.consensus.process
import feeds.ingest.process
import feeds.resolver.process
import feeds.simulator.server
import trinity.node.database
import workers.access.process
import workers.api.app
import workers.api.server
import workers.backup.process
import workers.cluster.process
import workers.health.server
import workers.ledger.process
import workers.operator.process
import workers.push.process
import workers.receiver.process
import workers.request.loop
from feeds.audit.recorder import DecisionRecorder, FrameRecorder
from feeds.consensus.candles import open_candles
from trinity.cache.address import cache_settings_of
from trinity.config import services_of, worker_count
from trinity.config_checks import SPARES
from trinity.memory.access import AccessMemory
from trinity.memory.delivery_ring import DeliveryRing
from trinity.memory.miss_queue import MissWakes
from trinity.memory.node import Card, NodeMemory, ProcessEntry
from trinity.memory.usage_ring import UsageRing
from trinity.net.ports import health_listeners_of
from trinity.node.plan import NodePlan
from trinity.node.settings import explainer, heartbeat_of, recording_of, report_settings_of, retention_of
from trinity.process import (
    AskerMemory,
    ClusterMemory,
    ConsensusMemory,
    FeedMemory,
    NodeView,
    ProcessContext,
    PushMemory,
    ResolverMemory,
    WorkerMemory,
)
from trinity.services import Service
from trinity.store.database import database_url, is_embedded
from workers.operator.mail import Mailer
from workers.push.process import PushIdentity
from workers.receiver.process import ReceiverSettings
from workers.request.lookups import LocalLookups

# Of what every node runs, whatever its services are.
_ANY: tuple[Service, ...] = get_args(Service)


class Rings(NamedTuple):
    """The rings of records by their numbers, first those of this node's processes, then those that former ones left."""

    usage: tuple[UsageRing, ...]  # the workers', then the reporters'
    deliveries: tuple[DeliveryRing, ...]  # the pusher's


NO_RINGS = Rings((), ())
# Of the demo's receiver, in the data directory: its certificate and its key.
RECEIVER_FOLDER = "receiver"
# Kinds of processes that write a ring each.
USAGE_WRITERS, DELIVERY_WRITER = ("worker", "reporter"), "pusher"


@dataclass(frozen=True)
class SharedMemory:
    """All memory that the processes share; the list below says which of it a role gets."""

    node: NodeMemory
    access: AccessMemory
    rings: Rings
    wake_fd: int  # an eventfd: every feed writes it after it wrote quotes, the consensus process reads it
    wakes: MissWakes

    def of_feed(self) -> FeedMemory:
        return FeedMemory(self.node.prices, self.node.answers, self.wake_fd, self.node.assets)

    def of_consensus(self) -> ConsensusMemory:
        return ConsensusMemory(self.node.prices, self.node.answers, self.wake_fd)

    def of_worker(self, number: int) -> WorkerMemory:
        ring, asker = self.rings.usage[number], self._asker(number)
        return WorkerMemory(self.node.answers, self.access, ring, asker, self.node.admission)

    def ring_of_reporter(self, plan: NodePlan, number: int) -> UsageRing:
        return self.rings.usage[_workers_of(plan) + number]

    def asker_of_reporter(self, plan: NodePlan, number: int) -> AskerMemory:
        return self._asker(_workers_of(plan) + number)

    def _asker(self, number: int) -> AskerMemory:
        queue = self.node.misses.queue(number)
        return AskerMemory(self.node.assets, queue, self.wakes.resolver_fd, self.wakes.asker_fds[number])

    def of_resolver(self) -> ResolverMemory:
        node = self.node
        return ResolverMemory(node.prices, node.answers, node.assets, node.misses, self.wakes)

    def of_pusher(self) -> PushMemory:
        return PushMemory(self.node.answers, self.rings.deliveries[0])

    def of_cluster(self) -> ClusterMemory:
        return ClusterMemory(self.view(), self.access)

    def view(self) -> NodeView:
        return NodeView(self.node, self.rings.usage)


class Role(NamedTuple):
    """One kind of process.

    `instances` names its processes (an empty name: there is one, called as its kind), `start` runs one of them. A start
    begins with the highest stage, a drain with the lowest: workers answer while prices come in. A start fails with a
    `vital` process; a node that was ready once goes on without any (trinity/node/supervisor.py).
    It runs on nodes that have one of its `services` (trinity/services.py). Of whom there are `seats` so many serve, and
    the one instance that there is beside them is the spare (trinity/node/replacement.py).
    """

    kind: str
    instances: Callable[[NodePlan], Sequence[str]]
    stage: int
    start: Callable[[ProcessContext, SharedMemory, NodePlan, str], None]
    vital: bool = True
    services: tuple[Service, ...] = _ANY
    seats: Callable[[NodePlan], int] = lambda _: 0


def _with_a_spare(seats: Callable[[NodePlan], int]) -> Callable[[NodePlan], Sequence[str]]:
    return lambda plan: [str(number) for number in range(seats(plan) + SPARES)]


def _worker_seats(plan: NodePlan) -> int:
    return worker_count(plan.config.request)


def _reporter_seats(plan: NodePlan) -> int:
    return plan.config.reports.processes


ROLES = (
    Role(
        "database",
        lambda plan: [""] if is_embedded(plan.config) else [],
        3,
        lambda context, _memory, plan, _: trinity.node.database.run(
            context, plan.config.node.data_dir, backed_up=bool(plan.config.backup.target)
        ),
        vital=False,
    ),
    Role(
        "access",
        lambda _: [""],
        2,
        lambda context, memory, plan, _: workers.access.process.run(
            context, memory.access, plan.config.access, plan.config.node.data_dir, database_url(plan.config)
        ),
        vital=False,
        services=("lookups", "reports"),
    ),
    Role(
        "operator",
        lambda _: [""],
        2,
        lambda context, memory, plan, _: workers.operator.process.run(
            context,
            plan.node_uuid,
            plan.config.node.data_dir,
            database_url(plan.config),
            cache_settings_of(plan.config),
            retention_of(plan.config),
            memory.access.limits,
            Mailer(plan.config.mail, plan.config.stores.smtp_password),
            memory.node,
        ),
        vital=False,
    ),
    Role(
        "simulator",
        lambda plan: [""] if plan.with_simulator else [],
        2,
        lambda context, _memory, plan, _: feeds.simulator.server.run(
            context, plan.config.simulator, plan.config.node.bind_host
        ),
    ),
    Role(
        "feed",
        lambda plan: plan.catalog.exchanges,
        1,
        lambda context, memory, plan, exchange: feeds.ingest.process.run(
            context,
            memory.of_feed(),
            plan.config.feeds,
            exchange,
            FrameRecorder(context, recording_of(plan.config), exchange),
        ),
        vital=False,
    ),
    Role(
        "resolver",
        lambda plan: [""] if plan.config.lookups.beyond_catalog else [],
        1,
        lambda context, memory, plan, _: feeds.resolver.process.run(
            context,
            memory.of_resolver(),
            plan.config.feeds,
            plan.config.node.data_dir,
            cache_settings_of(plan.config),
        ),
        vital=False,
        services=("lookups", "reports"),
    ),
    Role(
        "consensus",
        lambda _: [""],
        1,
        lambda context, memory, plan, _: feeds.consensus.process.run(
            context,
            memory.of_consensus(),
            [
                *open_candles(context, memory.node.answers, plan.config.node.data_dir),
                DecisionRecorder(context, recording_of(plan.config)),
            ],
        ),
    ),
    Role(
        "flusher",
        lambda _: [""],
        1,
        lambda context, memory, plan, _: workers.ledger.process.run(
            context,
            (*memory.rings.usage, *memory.rings.deliveries),
            plan.config.ledger,
            plan.config.node,
            plan.node_uuid,
            database_url(plan.config),
        ),
        vital=False,
    ),
    Role(
        "backup",
        lambda plan: [""] if plan.config.backup.target else [],
        2,
        lambda context, _memory, plan, _: workers.backup.process.run(context, plan.config, plan.node_uuid),
        vital=False,
    ),
    Role(
        "cluster",
        lambda plan: [""] if cache_settings_of(plan.config) is not None else [],
        1,
        lambda context, memory, plan, _: workers.cluster.process.run(
            context, memory.of_cluster(), plan.config, plan.node_uuid
        ),
        vital=False,
    ),
    Role(
        "pusher",
        lambda _: [""],
        0,
        lambda context, memory, plan, _: workers.push.process.run(
            context,
            memory.of_pusher(),
            plan.config.push,
            PushIdentity(plan.config.node.data_dir, plan.node_uuid, plan.config.node.name, database_url(plan.config)),
        ),
        vital=False,
        services=("push",),
    ),
    Role(
        "receiver",
        lambda plan: [""] if plan.with_receiver else [],
        1,
        lambda context, _memory, plan, _: workers.receiver.process.run(
            context,
            ReceiverSettings(
                plan.config.node.bind_host,
                plan.config.push.receiver_port,
                plan.config.node.data_dir / RECEIVER_FOLDER,
                database_url(plan.config),
            ),
        ),
        vital=False,
    ),
    Role(
        "worker",
        _with_a_spare(_worker_seats),
        0,
        lambda context, memory, plan, number: workers.request.loop.run(
            context,
            memory.of_worker(int(number)),
            plan.config.ports,
            plan.config.request,
            plan.config.access,
            plan.config.node.bind_host,
            int(number),
            workers.api.app.PATHS,
            beyond_catalog=plan.config.lookups.beyond_catalog,
        ),
        services=("lookups",),
        seats=_worker_seats,
    ),
    Role(
        "reporter",
        _with_a_spare(_reporter_seats),
        0,
        lambda context, memory, plan, number: workers.api.server.run(
            context,
            memory.view(),
            memory.access,
            memory.ring_of_reporter(plan, int(number)),
            report_settings_of(plan.config),
            explainer(context, memory.node, plan.config.node.data_dir),
            LocalLookups(
                memory.node.answers.words,
                context.catalog,
                memory.asker_of_reporter(plan, int(number)) if plan.config.lookups.beyond_catalog else None,
                memory.access.addresses,
            ),
        ),
        vital=False,
        services=("reports",),
        seats=_reporter_seats,
    ),
    Role(
        "health",
        lambda _: [""],
        2,
        lambda context, memory, plan, _: workers.health.server.run(
            context,
            memory.view(),
            plan.config.ports,
            plan.config.node,
            health_listeners_of(plan.config),
            heartbeat_of(plan.config),
        ),
    ),
)


def _workers_of(plan: NodePlan) -> int:
    """Those whose rings and queues stand before the reporters'."""
    return [role.kind for role, _ in instances_of(plan)].count("worker")


def instances_of(plan: NodePlan) -> list[tuple[Role, str]]:
    """The node's processes, in the order of the control segment's blocks."""
    services = services_of(plan.config)
    roles = (role for role in ROLES if not set(role.services).isdisjoint(services))
    return [(role, instance) for role in roles for instance in role.instances(plan)]


def card_of(plan: NodePlan) -> Card:
    """The node's card: its processes in the order of the control segment's blocks."""
    entries = tuple(
        ProcessEntry(f"{role.kind}-{instance}" if instance else role.kind, role.kind)
        for role, instance in instances_of(plan)
    )
    node = plan.config.node
    return Card(
        node.name,
        plan.config.feeds.simulated,
        entries,
        plan.catalog,
        node.environment,
        server_type=node.server_type,
        services=services_of(plan.config),
    )
