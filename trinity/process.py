"""What a process of the node is given when it is forked: its place, the shared memory and the clock.

Rules: a process gets its seat and its own section of the configuration, never the tree. Everything in a seat was
made by the supervisor before the fork and is inherited.
"""

import logging
from dataclasses import dataclass, field

from trinity.clock import Clock
from trinity.markets import Catalog
from trinity.memory.address_table import AddressTable
from trinity.memory.answer_table import AnswerTable
from trinity.memory.block_table import BlockTable
from trinity.memory.control import Control, ProcessBlock
from trinity.memory.key_table import KeyTable
from trinity.memory.limit_table import LimitTable
from trinity.memory.price_table import PriceTable
from trinity.memory.usage_ring import UsageRing

# A process that cannot start exits with this code: a start of the node then ends instead of trying again.
EXIT_BOOT_FAILURE = 3


@dataclass(frozen=True)
class Seat:
    """One process's place in the node.

    `index` is the position in the node's process list, and so of its block in the control segment. `wake_fd` is an
    eventfd that every feed writes after it wrote quotes and the consensus process reads. `control_fd` is this
    process's own eventfd: the supervisor writes it after it changed the block's command word. `rings` has each worker's
    usage ring at the worker's number, then the rings that former workers left. `keys` to `blocks` are the node's access
    tables (trinity/memory/access.py); empty and the process's own where there is no node.
    """

    name: str
    kind: str
    index: int
    catalog: Catalog
    clock: Clock
    prices: PriceTable
    answers: AnswerTable
    control: Control
    block: ProcessBlock
    wake_fd: int
    control_fd: int
    simulated: bool
    log: logging.Logger
    rings: tuple[UsageRing, ...] = ()
    keys: KeyTable = field(default_factory=lambda: KeyTable.private(1))
    limits: LimitTable = field(default_factory=lambda: LimitTable.private(1))
    addresses: AddressTable = field(default_factory=AddressTable.private)
    blocks: BlockTable = field(default_factory=BlockTable.private)
