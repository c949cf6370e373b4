"""The way of one kind of records, turn by turn: drain, spool, loader and sync, and what they say in metrics.

Rules: what one kind meets concerns no other: each has its folder, its threads and its connection. A disk that refuses
to open the spool is asked again; until then the rings are the buffer, and the alarm stands. The loader has a thread of
its own, because a database may answer late or never; the spool is between the two. A third thread syncs the spool,
because a disk may be late as well. All three survive what the database and the disk refuse; what is left is a fault of
ours, which `turn` raises.
"""

import logging
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from trinity.clock import NS_PER_SECOND, Clock
from trinity.limits import USAGE_ALARM_SHARE
from trinity.memory.control import ProcessBlock
from trinity.memory.record_ring import RecordRing
from workers.ledger.disk.spool import Spool
from workers.ledger.disk.syncer import Syncer
from workers.ledger.drain import Drain
from workers.ledger.kind import RecordKind
from workers.ledger.loader import Loader

# A disk that refuses to open the spool is asked again this often.
_OPEN_AGAIN_NS = NS_PER_SECOND


class Kept:
    """What one kind's records are kept in: its rings, its folder and its bound."""

    def __init__(self, kind: RecordKind, rings: Sequence[RecordRing], data_dir: Path, spool_bytes_max: int) -> None:
        self.kind, self.rings = kind, rings
        self.folder = data_dir / kind.ring.folder
        self.spool_bytes_max = spool_bytes_max

    def open(
        self, block: ProcessBlock, log: logging.Logger, beat: Callable[[], None], clock: Clock
    ) -> tuple[Spool, Drain]:
        """Take over what is there; raises OSError."""
        spool = Spool(self.kind, self.folder / "spool", self.spool_bytes_max, beat)
        for path in spool.damaged:
            # Their records are counted as missing with the next ones of their rings.
            text = f"a file of the {self.kind.name} spool is damaged and was set aside"
            log.critical(text, extra={"fields": {"file": str(path)}})
        return spool, Drain(self.rings, spool, self.folder / "reserve", block, log, beat, clock)

    def say_closed(self, error: OSError, log: logging.Logger) -> None:
        log.critical(f"the {self.kind.name} spool cannot be opened", extra={"fields": {"error": str(error)}})


class RecordRoute:
    """One kind of records on its way, in the flusher's process."""

    def __init__(
        self,
        kept: Kept,
        url: str,
        node: uuid.UUID,
        node_name: str,
        block: ProcessBlock,
        log: logging.Logger,
        beat: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._kept, self._url, self._node, self._node_name = kept, url, node, node_name
        self._block, self._log, self._beat, self._clock = block, log, beat, clock
        self._open_at_ns = 0
        self._is_told = False
        self._running: tuple[Spool, Drain, Loader, Syncer] | None = None
        self._gauges = Gauges(kept.kind, block)

    def turn(self) -> None:
        """Take over what is there, and say how it goes; raises what ended one of the threads."""
        if self._running is None:
            self._open()
        if self._running is not None:
            spool, drain, loader, syncer = self._running
            drain.turn()
            self._gauges.show(drain, spool, loader, syncer, self._clock)
            loader.raise_failure()
            syncer.raise_failure()

    def drain_last(self) -> None:
        """Take over the last records; from now on the loader loads what is there and ends."""
        if self._running is not None:
            _, drain, loader, _ = self._running
            drain.turn(is_last=True)
            loader.finish(0)

    def finish(self, seconds: float) -> None:
        """Wait for the loader, but no longer than this."""
        if self._running is not None:
            spool, drain, loader, syncer = self._running
            loader.finish(seconds)
            self._gauges.show(drain, spool, loader, syncer, self._clock)

    def _open(self) -> None:
        if self._clock.monotonic_ns() < self._open_at_ns:
            return
        kept = self._kept
        try:
            spool, drain = kept.open(self._block, self._log, self._beat, self._clock)
        except OSError as error:
            if not self._is_told:
                kept.say_closed(error, self._log)
            self._is_told = True
            self._gauges.show_closed()
            self._open_at_ns = self._clock.monotonic_ns() + _OPEN_AGAIN_NS
            return
        if self._is_told:
            self._log.warning(f"the {kept.kind.name} spool is open again")
        loader = Loader(
            self._url, kept.kind, self._node, self._node_name, kept.rings, spool, self._block, self._clock, self._log
        )
        syncer = Syncer(spool, self._clock, self._log)
        loader.start()
        syncer.start()
        self._running = spool, drain, loader, syncer


class Gauges:
    """What the health process, `trinity top` and alarms read; high-water marks are of this process's life."""

    def __init__(self, kind: RecordKind, block: ProcessBlock) -> None:
        self._kind, self._block = kind, block
        self._ring_share_max = self._spool_share_max = 0.0

    def show(self, drain: Drain, spool: Spool, loader: Loader, syncer: Syncer, clock: Clock) -> None:
        ring_share, spool_share, oldest_ns = drain.share_before, spool.share, spool.oldest_ns
        self._ring_share_max = max(self._ring_share_max, ring_share)
        self._spool_share_max = max(self._spool_share_max, spool_share)
        lag_ns = max(0, clock.wall_ns() - oldest_ns) if oldest_ns is not None else 0
        self._set(
            ring_share=ring_share,
            ring_share_max=self._ring_share_max,
            spool_bytes=spool.bytes,
            spool_share=spool_share,
            spool_share_max=self._spool_share_max,
            spool_writable=drain.is_writable,
            spool_synced=syncer.is_synced(),
            lag_records=drain.waiting + spool.records,
            lag_seconds=lag_ns / NS_PER_SECOND,
            database_up=loader.is_up(),
            alarm=max(ring_share, spool_share) > USAGE_ALARM_SHARE,
        )

    def show_closed(self) -> None:
        """The spool cannot be opened."""
        self._set(spool_writable=False, alarm=True)

    def show_unused(self) -> None:
        """This node has no records of the kind, and nothing is wrong with that."""
        self._set(spool_writable=True, spool_synced=True, database_up=True)

    def _set(self, **values: float) -> None:
        for name, value in values.items():
            self._block.set_gauge(self._kind.metric(name), float(value))
