"""What a process of the node is given when it is forked: its place, the shared memory and the clock.

Rules: a process gets its seat and its own section of the configuration, never the tree. Everything in a seat was
made by the supervisor before the fork and is inherited.
"""

import logging
from dataclasses import dataclass

from trinity.clock import Clock
from trinity.markets import Catalog
from trinity.memory.answer_table import AnswerTable
from trinity.memory.control import Control, ProcessBlock
from trinity.memory.price_table import PriceTable

# A process that cannot start exits with this code: the supervisor then stops the node instead of trying again.
EXIT_BOOT_FAILURE = 3


@dataclass(frozen=True)
class Seat:
    """One process's place in the node.

    `index` is the position in the node's process list, and so of its block in the control segment. `wake_fd` is an
    eventfd that every feed writes after it wrote quotes and the consensus process reads. `control_fd` is this
    process's own eventfd: the supervisor writes it after it changed the block's command word.
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
