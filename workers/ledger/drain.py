"""The drain: from the rings into the spool, and what happens when the disk refuses.

    disk takes blocks            every record becomes part of a segment, then its place in the ring is released
    disk refuses                 the ring is the buffer: nothing is released, the disk is asked again every turn
    ring fuller than its share   the oldest records become sums in the reserve, and are released: detail is lost,
                                 sums are not
    the same at a node's start   all that waits becomes sums: a ring goes on only at positions that it never had
    disk takes blocks again      first the reserve's sums, then records as before

Rules: a record is released only when the spool or the reserve has it; the start after a kill goes on behind whatever
they have. Positions of a ring are taken in order and never twice, and as they are: what a failed machine left of a
record is found and counted by whoever reads its block. A turn says `beat` after each of its steps, which take less than
a second each.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from trinity.clock import Clock
from trinity.limits import RING_SUM_SHARE
from trinity.memory.control import ProcessBlock
from trinity.memory.record_ring import RecordRing
from trinity.observe.log import Losses, Settled
from workers.ledger.disk.block import records_in_place
from workers.ledger.disk.reserve import Reserve
from workers.ledger.disk.spool import Spool
from workers.ledger.sums import Span, Sums

# Records of one block: little enough that a sum of them, and a turn, stay short.
_BLOCK_RECORDS_MAX = 1 << 16


class Drain:
    """All rings of one kind and where they go."""

    def __init__(
        self,
        rings: Sequence[RecordRing],
        spool: Spool,
        reserve_path: Path,
        block: ProcessBlock,
        log: logging.Logger,
        beat: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._rings = rings
        self._spool = spool
        self._reserve_path = reserve_path
        self._reserve: Reserve | None = None
        self._block = block
        self._log = log
        self._beat = beat
        self._clock = clock
        self._writable_told = Settled(True)
        kind = spool.kind
        self._taken_word = kind.metric("records_total")
        self._lost_detail_word = kind.metric("lost_total", "detail")
        self._lost_record_word = kind.metric("lost_total", "record")
        self._lost_detail = Losses(log, kind.given_up)
        self._lost_records = Losses(log, f"{kind.name} records lost: a ring is full")
        self.share_before = 0.0  # how full the fullest ring was when the last turn began
        self._open_reserve()
        self._go_on()

    @property
    def is_writable(self) -> bool:
        """Whether the disk took what the last turn had for it."""
        return self._spool.is_writable

    @property
    def waiting(self) -> int:
        """Records in the rings."""
        return sum(ring.written - ring.released for ring in self._rings)

    @property
    def has_taken_all(self) -> bool:
        """Whether everything is in the spool: nothing waits in a ring, or as sums in the reserve."""
        return not self.waiting and self._reserve is not None and not self._reserve.sums.spans

    @property
    def share(self) -> float:
        """How full the fullest ring is."""
        return max(((ring.written - ring.released) / ring.capacity for ring in self._rings), default=0.0)

    def turn(self, *, is_last: bool = False) -> None:
        """Take over what is there; what is lost is told, after the last turn without delay."""
        self.share_before = self.share
        try:
            self._move_reserve()
            for ring in self._rings:
                self._drain(ring)
            if lost := self._spool.give_up_detail():
                self._lose_detail(lost, "the spool has reached LEDGER_SPOOL_BYTES_MAX or what its disk has to spare")
            self._set_writable(True, "")
        except OSError as error:
            self._set_writable(False, str(error))
            for ring in self._rings:
                self._sum_up(ring)
        self._count_refused()
        now_ns = self._clock.monotonic_ns()
        self._lost_detail.tell(now_ns, is_last=is_last)
        self._lost_records.tell(now_ns, is_last=is_last)

    def give_up_waiting(self) -> None:
        """Before the first fork: what the disk did not take becomes sums, so that the rings may move on."""
        for ring in self._rings:
            self._sum_up(ring, 0.0)
        self._lost_detail.tell(self._clock.monotonic_ns(), is_last=True)

    def _go_on(self) -> None:
        """Give back what a predecessor had taken over already."""
        ends = dict(self._spool.ends())
        if self._reserve is not None:
            sums = self._reserve.sums
            if sums.spans and all(ends.get(span.ring, 0) >= span.end for span in sums.spans):
                self._reserve.clear()  # they had become a file, and the predecessor was killed before it said so
            ends.update({span.ring: max(span.end, ends.get(span.ring, 0)) for span in sums.spans})
        for ring in self._rings:
            ring.release(min(max(ring.released, ends.get(ring.number, 0)), ring.written))

    def _drain(self, ring: RecordRing) -> None:
        end = ring.written
        while ring.released < end:
            first = ring.released
            records = ring.view(first)[: min(end - first, _BLOCK_RECORDS_MAX)]
            self._spool.append(ring, records)
            self._block.count(self._taken_word, len(records))
            self._beat()

    def _sum_up(self, ring: RecordRing, share: float = RING_SUM_SHARE) -> None:
        """While the ring is fuller than this: its oldest records live on as sums."""
        self._open_reserve()
        while self._reserve is not None and (ring.written - ring.released) / ring.capacity > share:
            first = ring.released
            records = ring.view(first)[: min(ring.capacity // 8, _BLOCK_RECORDS_MAX)]
            groups = self._spool.kind.sum_records(records_in_place(self._spool.kind, ring.number, first, records))
            if not self._reserve.add(Sums((Span(ring.number, first, first + len(records)),), groups)):
                return
            ring.release(first + len(records))
            self._block.count(self._taken_word, len(records))
            self._lose_detail(len(records), "the disk refuses the spool, and the ring is full or the node starts")
            self._beat()

    def _move_reserve(self) -> None:
        """The reserve's records are older than all that is still in the rings."""
        self._open_reserve()
        if self._reserve is not None and self._reserve.sums.spans:
            self._spool.append_sums(self._reserve.sums, self._reserve.clear)

    def _open_reserve(self) -> None:
        if self._reserve is None:
            try:
                self._reserve = Reserve(self._spool.kind, self._reserve_path)
            except OSError as error:
                self._log.debug("no reserve", extra={"fields": {"error": str(error)}})

    def _lose_detail(self, records: int, why: str) -> None:
        self._block.count(self._lost_detail_word, records)
        self._lost_detail.add(records, why=why)

    def _count_refused(self) -> None:
        """Records that found their ring full, also while there was no flusher: nothing is known of them."""
        for ring in self._rings:
            refused = ring.refused
            if lost := refused - ring.counted:
                ring.count_refused(refused)
                self._block.count(self._lost_record_word, lost)
                self._lost_records.add(lost)

    def _set_writable(self, is_writable: bool, error: str) -> None:
        self._spool.is_writable = is_writable
        if not self._writable_told.is_news(is_writable, self._clock.monotonic_ns()):
            return
        if is_writable:
            self._log.warning(f"the disk takes the {self._spool.kind.name} spool again")
        else:
            self._log.critical(
                f"the disk refuses the {self._spool.kind.name} spool", extra={"fields": {"error": error}}
            )
