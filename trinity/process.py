"""What a process of the node is given when it is forked: who it is, and the shared memory that its role needs.

Rules: a process gets its context, the memory of its role and its own section of the configuration, never the tree.
The list of processes (trinity/node/roles.py) says who gets which memory. Everything here was made by the supervisor
before the fork and is inherited; where one class or one table is all that a role needs, it gets that (AccessMemory,
the usage rings).
"""

import logging
from dataclasses import dataclass, field

from trinity.clock import Clock
from trinity.markets import Catalog
from trinity.memory.access import AccessMemory
from trinity.memory.admission_table import AdmissionTable
from trinity.memory.answer_table import AnswerTable
from trinity.memory.asset_table import AssetTable
from trinity.memory.atomics import Words
from trinity.memory.control import Control, ProcessBlock
from trinity.memory.delivery_ring import DeliveryRing
from trinity.memory.miss_queue import MissQueues, MissWakes
from trinity.memory.node import NodeMemory
from trinity.memory.price_table import PriceTable
from trinity.memory.usage_ring import UsageRing
from trinity.net.seat import Seat

# A process that cannot start exits with this code: a start of the node then ends instead of trying again.
EXIT_BOOT_FAILURE = 3


@dataclass(frozen=True)
class ProcessContext:
    """Who a process of the node `node` is, its clock, its log and its block of the control segment.

    `index` is the position in the node's process list, and so of its block in the control segment. `control_fd` is
    this process's own eventfd: the supervisor writes it after it changed the block's command word.
    """

    node: str
    name: str
    kind: str
    index: int
    catalog: Catalog
    clock: Clock
    control: Control
    block: ProcessBlock
    control_fd: int
    simulated: bool
    log: logging.Logger
    seat: Seat | None = None  # at the node's ports, where several processes share them

    @classmethod
    def of(cls, node: NodeMemory, index: int, clock: Clock, control_fd: int) -> "ProcessContext":
        """The context of the card's process `index`; the process itself opens its log's file."""
        card, entry = node.card, node.card.processes[index]
        log = logging.getLogger(f"trinity.{entry.name}")
        block = node.control.block(index)
        return cls(
            node=card.node,
            name=entry.name,
            kind=entry.kind,
            index=index,
            catalog=card.catalog,
            clock=clock,
            control=node.control,
            block=block,
            control_fd=control_fd,
            simulated=card.simulated,
            log=log,
        )


@dataclass(frozen=True)
class FeedMemory:
    """Of a feed: where quotes are written, the coins' indexes to compare others by, the eventfd that is written after
    quotes, and which assets beyond the catalog are to be on its sockets."""

    prices: PriceTable
    answers: AnswerTable
    wake_fd: int
    assets: AssetTable


@dataclass(frozen=True)
class ConsensusMemory:
    """Of the consensus process: what it reads, what it writes, and the eventfd by which the feeds wake it."""

    prices: PriceTable
    answers: AnswerTable
    wake_fd: int


@dataclass(frozen=True)
class ResolverMemory:
    """Of the resolver: the spare rows of both tables, whose they are, and who asks for what."""

    prices: PriceTable
    answers: AnswerTable
    assets: AssetTable
    misses: MissQueues
    wakes: MissWakes


@dataclass(frozen=True)
class AskerMemory:
    """Of a process that asks the resolver: which assets the spare rows hold, its own queue, and the eventfds of both
    ways: `resolver_fd` it writes after it asked, `answered_fd` is written when what it asked for was decided."""

    assets: AssetTable
    queue: Words
    resolver_fd: int
    answered_fd: int

    @classmethod
    def private(cls) -> "AskerMemory":
        """Of a process that has no resolver: nobody hears what it asks for."""
        return cls(AssetTable.private(), MissQueues.private().queue(0), -1, -1)


@dataclass(frozen=True)
class WorkerMemory:
    """Of one request worker: the answers, who may ask, the ring of its own usage records, the way to other assets, and
    what it lets in."""

    answers: AnswerTable
    access: AccessMemory
    ring: UsageRing
    asker: AskerMemory
    admission: AdmissionTable = field(default_factory=AdmissionTable.private)


@dataclass(frozen=True)
class PushMemory:
    """Of the push server: the answers, and the ring of its deliveries."""

    answers: AnswerTable
    ring: DeliveryRing


@dataclass(frozen=True)
class NodeView:
    """Of a process that tells how the node does: its memory, and all of its usage rings."""

    node: NodeMemory
    rings: tuple[UsageRing, ...] = ()


@dataclass(frozen=True)
class ClusterMemory:
    """Of the process that speaks with the other nodes: all that it tells of this one, and the limits that it steers."""

    view: NodeView
    access: AccessMemory
