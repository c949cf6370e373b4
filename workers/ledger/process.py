"""The flusher's process: the drain's loop, the loader's thread, and what both say in metrics.

Rules: the loop alone beats: records leave the rings whatever the database does. The loader has a thread of its own,
because a database may answer late or never; the spool is between the two. A third thread syncs the spool, because a
disk may be late as well. All three survive what the database and the disk refuse; what is left is a fault of ours: in
whatever thread it ends the process, and the next one goes on from what is on disk. What takes long beats as well,
between its steps.
"""

import gc
import logging
import os
import select
import signal
import threading
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from trinity.clock import NS_PER_SECOND, Clock, SystemClock
from trinity.config import LedgerSection, NodeSection
from trinity.limits import DRAIN_TURN_MS, USAGE_ALARM_SHARE
from trinity.memory.control import COMMAND, Command, ProcessBlock
from trinity.memory.record_ring import RecordRing
from trinity.observe.metrics import FLUSHER
from trinity.process import ProcessContext
from workers.ledger.drain import Drain
from workers.ledger.loader import Loader
from workers.ledger.spool import Spool
from workers.ledger.syncer import Syncer
from workers.ledger.usage_tables import USAGE

# A disk that refuses to open the spool is asked again this often.
_OPEN_AGAIN_MS = 1000
# At a drain the rings are emptied to the disk; the database gets what it takes in this time, the next start the rest.
_LAST_LOAD_SECONDS = 1.0


def run(
    context: ProcessContext,
    rings: Sequence[RecordRing],
    section: LedgerSection,
    node: NodeSection,
    node_uuid: uuid.UUID,
    url: str,
) -> None:
    """Keep the ledger until SIGTERM, SIGINT or the DRAIN command."""
    stopping, data_dir = threading.Event(), node.data_dir

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)

    def beat() -> None:
        context.block.beat(context.clock.monotonic_ns())

    poll = select.poll()
    poll.register(context.control_fd, select.POLLIN)

    def is_over() -> bool:
        return stopping.is_set() or context.block.read(COMMAND) == Command.DRAIN

    def wait(milliseconds: int) -> None:
        for fd, _ in poll.poll(milliseconds):
            os.eventfd_read(fd)

    opened = _open_at_last(
        lambda: _open(rings, data_dir, section, context.block, context.log, beat, context.clock),
        context,
        beat,
        wait,
        is_over,
    )
    if opened is None:
        return
    spool, drain = opened
    loader = Loader(url, USAGE, node_uuid, node.name, rings, spool, context.block, context.clock, context.log)
    syncer = Syncer(spool, context.clock, context.log)
    loader.start()
    syncer.start()
    gauges = _Gauges(context.block)
    gc.freeze()  # what numba and psycopg brought is never garbage
    while not is_over():
        drain.turn()
        gauges.show(drain, spool, loader, syncer, context.clock)
        beat()
        loader.raise_failure()
        syncer.raise_failure()
        wait(DRAIN_TURN_MS)
    drain.turn(is_last=True)
    loader.finish(_LAST_LOAD_SECONDS)
    gauges.show(drain, spool, loader, syncer, context.clock)


def _open_at_last(
    open_now: Callable[[], tuple[Spool, Drain]],
    context: ProcessContext,
    beat: Callable[[], None],
    wait: Callable[[int], None],
    is_over: Callable[[], bool],
) -> tuple[Spool, Drain] | None:
    """As soon as the disk permits; until then the rings are the buffer, and the alarm stands. None: told to stop."""
    is_told = False
    while not is_over():
        beat()
        try:
            opened = open_now()
        except OSError as error:
            if not is_told:
                context.log.critical("the usage spool cannot be opened", extra={"fields": {"error": str(error)}})
            is_told = True
            context.block.set_gauge(FLUSHER.index("usage_spool_writable"), 0.0)
            context.block.set_gauge(FLUSHER.index("usage_alarm"), 1.0)
            wait(_OPEN_AGAIN_MS)
        else:
            if is_told:
                context.log.warning("the usage spool is open again")
            return opened
    return None


def take_over(
    rings: Sequence[RecordRing], data_dir: Path, section: LedgerSection, block: ProcessBlock, log: logging.Logger
) -> bool:
    """Before the first fork: bring what a former life left in the rings into the spool, or as sums into the reserve.

    True when the rings are empty: they may move on then (RecordRing.move_on). Where they are not, nobody may write
    them: after a crash of the machine they may be older than the database, and their next positions be used already.
    """
    try:
        spool, drain = _open(rings, data_dir, section, block, log, lambda: None, SystemClock())
        drain.turn(is_last=True)
        drain.give_up_waiting()
        spool.close()
    except OSError as error:
        log.critical("the usage spool cannot be opened", extra={"fields": {"error": str(error)}})
    return all(ring.released == ring.written for ring in rings)


def _open(
    rings: Sequence[RecordRing],
    data_dir: Path,
    section: LedgerSection,
    block: ProcessBlock,
    log: logging.Logger,
    beat: Callable[[], None],
    clock: Clock,
) -> tuple[Spool, Drain]:
    spool = Spool(USAGE, data_dir / "usage" / "spool", section.spool_bytes_max, beat)
    for path in spool.damaged:
        # Their records are counted as missing with the next ones of their rings.
        log.critical("a file of the usage spool is damaged and was set aside", extra={"fields": {"file": str(path)}})
    return spool, Drain(rings, spool, data_dir / "usage" / "reserve", block, log, beat, clock)


class _Gauges:
    """What the health process, `trinity top` and alarms read; high-water marks are of this process's life."""

    def __init__(self, block: ProcessBlock) -> None:
        self._block = block
        self._ring_share_max = self._spool_share_max = 0.0

    def show(self, drain: Drain, spool: Spool, loader: Loader, syncer: Syncer, clock: Clock) -> None:
        ring_share, spool_share, oldest_ns = drain.share_before, spool.share, spool.oldest_ns
        self._ring_share_max = max(self._ring_share_max, ring_share)
        self._spool_share_max = max(self._spool_share_max, spool_share)
        lag_ns = max(0, clock.wall_ns() - oldest_ns) if oldest_ns is not None else 0
        for name, value in (
            ("usage_ring_share", ring_share),
            ("usage_ring_share_max", self._ring_share_max),
            ("usage_spool_bytes", spool.bytes),
            ("usage_spool_share", spool_share),
            ("usage_spool_share_max", self._spool_share_max),
            ("usage_spool_writable", drain.is_writable),
            ("usage_spool_synced", syncer.is_synced()),
            ("usage_lag_records", drain.waiting + spool.records),
            ("usage_lag_seconds", lag_ns / NS_PER_SECOND),
            ("usage_database_up", loader.is_up()),
            ("usage_alarm", max(ring_share, spool_share) > USAGE_ALARM_SHARE),
        ):
            self._block.set_gauge(FLUSHER.index(name), float(value))
