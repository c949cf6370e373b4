"""The flusher's process: the loop over the routes of all kinds of records.

Rules: the loop alone beats: records leave the rings whatever the database does. Whatever it is that fails for good, it
ends the process, and the next one goes on from what is on disk. What takes long beats as well, between its steps. A
kind that this node has no rings of has no route: no folder, no thread, no connection.
"""

import gc
import logging
import os
import select
import signal
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import LedgerSection, NodeSection
from trinity.limits import DRAIN_TURN_MS
from trinity.memory.control import COMMAND, Command, ProcessBlock
from trinity.memory.delivery_ring import DeliveryRing
from trinity.memory.record_ring import RecordRing
from trinity.memory.usage_ring import UsageRing
from trinity.process import ProcessContext
from workers.ledger.delivery_tables import DELIVERY
from workers.ledger.route import Gauges, Kept, RecordRoute
from workers.ledger.usage.usage_tables import USAGE

# At a drain the rings are emptied to the disk; the database gets what it takes in this time, the next start the rest.
_LAST_LOAD_SECONDS = 1.0
# Each kind with its part of LEDGER_SPOOL_BYTES_MAX.
# The spool of deliveries may have this part of what usage may have: 2.5 GB hold 12 h of 1,000 deliveries a second, and
# nobody bills by them.
DELIVERY_SPOOL_PART = 4
_KINDS = {UsageRing: (USAGE, 1), DeliveryRing: (DELIVERY, DELIVERY_SPOOL_PART)}


def run(
    context: ProcessContext,
    rings: Sequence[RecordRing],
    section: LedgerSection,
    node: NodeSection,
    node_uuid: uuid.UUID,
    url: str,
) -> None:
    """Keep the ledger until SIGTERM, SIGINT or the DRAIN command; `rings` are of all kinds."""
    stopping, clock = threading.Event(), context.clock

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    def beat() -> None:
        context.block.beat(clock.monotonic_ns())

    poll = select.poll()
    poll.register(context.control_fd, select.POLLIN)
    beat()
    routes = [
        RecordRoute(kept, url, node_uuid, node.name, context.block, context.log, beat, clock)
        for kept in _kept(rings, node.data_dir, section)
    ]
    for kind, _ in _KINDS.values():
        if not any(isinstance(ring, kind.ring) for ring in rings):
            Gauges(kind, context.block).show_unused()
    gc.freeze()  # what numba and psycopg brought is never garbage
    while not (stopping.is_set() or context.block.read(COMMAND) == Command.DRAIN):
        for route in routes:
            route.turn()
        beat()
        for fd, _ in poll.poll(DRAIN_TURN_MS):
            os.eventfd_read(fd)
    for route in routes:
        route.drain_last()
    until_ns = clock.monotonic_ns() + int(_LAST_LOAD_SECONDS * NS_PER_SECOND)
    for route in routes:
        route.finish(max(0, until_ns - clock.monotonic_ns()) / NS_PER_SECOND)


def take_over(
    rings: Sequence[RecordRing], data_dir: Path, section: LedgerSection, block: ProcessBlock, log: logging.Logger
) -> bool:
    """Before the first fork: bring what a former life left in the rings into the spools, or as sums into the reserves.

    True when the rings are empty: they may move on then (RecordRing.move_on). Where they are not, nobody may write
    them: after a crash of the machine they may be older than the database, and their next positions be used already.
    """
    for kept in _kept(rings, data_dir, section):
        try:
            spool, drain = kept.open(block, log, lambda: None, SystemClock())
            drain.turn(is_last=True)
            drain.give_up_waiting()
            spool.close()
        except OSError as error:
            kept.say_closed(error, log)
    return all(ring.released == ring.written for ring in rings)


def _kept(rings: Sequence[RecordRing], data_dir: Path, section: LedgerSection) -> list[Kept]:
    """The kinds that there are rings of."""
    by_kind = {made: [ring for ring in rings if isinstance(ring, made)] for made in _KINDS}
    return [
        Kept(_KINDS[made][0], of_kind, data_dir, section.spool_bytes_max // _KINDS[made][1])
        for made, of_kind in by_kind.items()
        if of_kind
    ]
