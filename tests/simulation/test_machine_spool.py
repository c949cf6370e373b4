"""The spool as a state machine: a flusher that is killed between any two calls of the disk, and a disk that refuses."""

import contextlib
import logging
import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.simulation.faults import FULL, TAKES, TEARS, Disk, Killed
from trinity.clock import SystemClock
from trinity.memory.control import BLOCK_WORDS, ProcessBlock
from trinity.memory.record_ring import POSITION_BITS
from trinity.memory.usage_ring import UsageRing, append_record
from workers.ledger.disk.block import read_blocks
from workers.ledger.disk.spool import Spool
from workers.ledger.disk.unit import read_segment
from workers.ledger.drain import Drain
from workers.ledger.sums import decode_sums
from workers.ledger.usage.usage_tables import USAGE

SPOOL_BYTES = 16 * 1024
POSITION_MASK = (1 << POSITION_BITS) - 1
_NOBODY = np.zeros(2, dtype=np.uint64)


class SpoolMachine(RuleBasedStateMachine):
    """One ring, its drain and its spool; whoever loads keeps a position, as the database does."""

    def __init__(self) -> None:
        super().__init__()
        self._undo = contextlib.ExitStack()
        self.folder = Path(tempfile.mkdtemp())
        self._undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "usage" / "spool").mkdir(parents=True)
        self.disk = Disk(self.folder, self._undo)
        self.ring = UsageRing.open(self.folder / "ring-0", 0, 64, 1000)
        self.first = self.ring.written
        self.block = ProcessBlock(np.zeros(BLOCK_WORDS, dtype=np.uint64))
        self.loaded_end = self.first
        self.loaded = 0
        self.spool: Spool | None = None
        self.start(0)

    def teardown(self) -> None:
        """In the end everything arrives: none is lost, none comes twice."""
        self.disk.heal()
        self.start(0)
        for _ in range(3):
            self.drain(0)
            while self.spool is not None and self.spool.records:
                self.load(0, True)
        assert self.loaded == self.ring.written - self.first
        self._undo.close()

    def guarded(self, calls: int, act: object) -> None:
        self.disk.arm(calls)
        try:
            act()  # type: ignore[operator]
        except Killed:
            self.spool = None
        finally:
            self.disk.revive()

    @rule(calls=st.integers(0, 6))
    def start(self, calls: int) -> None:
        """Another life of the flusher; the one before ends without a word."""
        self.spool = None

        def begin() -> None:
            spool = Spool(USAGE, self.folder / "usage" / "spool", SPOOL_BYTES)
            assert spool.damaged == []
            reserve = self.folder / "usage" / "reserve"
            log = logging.getLogger("simulation")
            self.drains = Drain((self.ring,), spool, reserve, self.block, log, lambda: None, SystemClock())
            self.spool = spool

        self.guarded(calls, begin)

    @rule(count=st.integers(1, 40))
    def answers(self, count: int) -> None:
        """A worker counts answers; what finds a full ring is not in it."""
        for number in range(count):
            time_ns = 1_772_323_200 * 10**9 + number
            append_record(self.ring.words, time_ns, _NOBODY, _NOBODY, 1000, 1, 200, 1, 0, 0, 0)

    @rule(calls=st.integers(0, 12))
    def drain(self, calls: int) -> None:
        if self.spool is not None:
            self.guarded(calls, self.drains.turn)

    @rule(mode=st.sampled_from([TAKES, TAKES, FULL, TEARS]))
    def disk_changes(self, mode: int) -> None:
        self.disk.set(mode)

    @rule()
    def sync(self) -> None:
        if self.spool is not None:
            with contextlib.suppress(OSError):
                self.spool.sync()

    @rule(calls=st.integers(0, 3), removes=st.booleans())
    def load(self, calls: int, removes: bool) -> None:
        """The oldest file's news are committed; then it is removed, or the process dies before that."""
        if self.spool is None:
            return
        spool = self.spool

        def take() -> None:
            unit = spool.take()
            if unit is None:
                return
            self.commit(unit)
            if removes:
                spool.remove(unit)
            else:
                self.spool = None

        self.guarded(calls, take)

    def commit(self, unit: object) -> None:
        path = unit.path  # type: ignore[attr-defined]
        if unit.is_sum:  # type: ignore[attr-defined]
            sums = decode_sums(USAGE, path.read_bytes())
            assert sums is not None
            (span,) = sums.spans
            if span.end > self.loaded_end:
                assert span.first == self.loaded_end, "sums are taken whole or not at all"
                assert sums.requests == span.end - span.first
                self.loaded_end, self.loaded = span.end, self.loaded + sums.requests
            return
        for block in read_blocks(USAGE, read_segment(path)):
            for record in block.records:
                position = int(record["request_id"]) & POSITION_MASK
                if position >= self.loaded_end:
                    assert position == self.loaded_end, "no gap"
                    self.loaded_end, self.loaded = position + 1, self.loaded + 1

    @invariant()
    def what_left_the_ring_is_on_the_disk_or_loaded(self) -> None:
        """The spool and the reserve end where the ring's released part ends, at least."""
        if self.spool is None:
            return
        ends = [self.spool.ends().get(0, 0), self.loaded_end]
        reserve = self.drains._reserve
        if reserve is not None:
            ends += [span.end for span in reserve.sums.spans]
        assert max(ends) >= self.ring.released


SpoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class TestSpool(SpoolMachine.TestCase):
    """Found by pytest."""
