"""The limit table as a state machine: months turn, clocks are set, processes and machines start again."""

import contextlib
import datetime
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.simulation.callers import Granted, Terms
from tests.simulation.world import Clock
from tests.support.quota import quota_used
from trinity.clock import NS_PER_SECOND
from trinity.limits import MISTAKES_PER_MINUTE
from trinity.memory.gcra import FOUND_WORDS
from trinity.memory.limit_table import (
    LimitTable,
    consume_free_rate,
    consume_key_rate,
    forgive_mistake,
    quota_left,
    take_lookups,
)

QUOTA = 7
PACED, COUNTED, FREE = Terms(1, 4, 6, 0), Terms(2, 0, 0, QUOTA), Terms(1, 2, 9, 0)
DAY_SECONDS = 86_400


class LimitsMachine(RuleBasedStateMachine):
    """A key with a rate, and one with a month's quota."""

    def __init__(self) -> None:
        super().__init__()
        self._undo = contextlib.ExitStack()
        self.path = Path(self._undo.enter_context(tempfile.TemporaryDirectory())) / "limits"
        self.clock = Clock()
        self.boot = 0
        self.paced, self.counted, self.free = Granted(PACED), Granted(COUNTED), Granted(FREE)
        self.mistakes: dict[tuple[int, int], int] = {}  # forgiven, by boot and minute
        self.was_set = False  # the wall clock, ever
        self.months: dict[int, int] = {}  # granted by the clock's month, while it was never set
        self.open()

    def teardown(self) -> None:
        self._undo.close()

    def open(self) -> None:
        now_ns, wall_ns = self.clock.monotonic_ns(), self.clock.wall_ns()
        self.table = LimitTable.open(self.path, 2, self.boot.to_bytes(16, "little"), now_ns, wall_ns)

    def month(self) -> int:
        date = datetime.datetime.fromtimestamp(self.clock.wall_ns() // NS_PER_SECOND, datetime.UTC)
        return date.year * 12 + date.month - 1

    @rule(ms=st.sampled_from([1, 100, 250, 1_000, 5_000]))
    def time_passes(self, ms: int) -> None:
        self.clock.true_ns += ms * 1_000_000

    @rule(days=st.sampled_from([1, 10, 27, 31]))
    def days_pass(self, days: int) -> None:
        self.clock.true_ns += days * DAY_SECONDS * NS_PER_SECOND

    @rule(days=st.sampled_from([-70, -31, -1, 1, 31, 70, 400]))
    def wall_clock_is_set(self, days: int) -> None:
        self.clock.wall_error_ns += days * DAY_SECONDS * NS_PER_SECOND
        self.was_set = True
        self.table.note_clock(self.clock.monotonic_ns(), self.clock.wall_ns())

    @rule(count=st.integers(1, 12))
    def ask_paced(self, count: int) -> None:
        """Never more than rate and burst, over any time."""
        found = np.zeros(FOUND_WORDS, dtype=np.int64)
        for _ in range(count):
            if consume_key_rate(self.table.words, 1, self.clock.monotonic_ns(), PACED.rate, PACED.burst, found):
                assert self.paced.take(self.clock.true_ns, 0) is None

    @rule(count=st.integers(1, 12))
    def ask_free(self, count: int) -> None:
        """The same for what costs no month, whose rate is another."""
        found = np.zeros(FOUND_WORDS, dtype=np.int64)
        for _ in range(count):
            if consume_free_rate(self.table.words, 1, self.clock.monotonic_ns(), FREE.rate, FREE.burst, found):
                assert self.free.take(self.clock.true_ns, 0) is None

    @rule(count=st.integers(1, 40))
    def make_mistakes(self, count: int) -> None:
        """The first of each minute are forgiven and no more, whatever else the key does."""
        minute = self.boot, self.clock.monotonic_ns() // (60 * NS_PER_SECOND)
        for _ in range(count):
            before = self.mistakes.get(minute, 0)
            assert forgive_mistake(self.table.words, 2, self.clock.monotonic_ns()) == (before < MISTAKES_PER_MINUTE)
            self.mistakes[minute] = min(before + 1, MISTAKES_PER_MINUTE)

    @rule(lookups=st.integers(2, QUOTA + 1))
    def ask_for_several(self, lookups: int) -> None:
        """All of them or none."""
        month, before = self.month(), quota_left(self.table.words, 2, self.month(), QUOTA)
        left = take_lookups(self.table.words, 2, month, QUOTA, lookups)
        assert left == (before - lookups if lookups <= before else -1)
        if left >= 0:
            for _ in range(lookups):
                assert self.counted.take(self.clock.true_ns, month) is None
            self.months[month] = self.months.get(month, 0) + lookups

    @rule(count=st.integers(1, 12))
    def ask_counted(self, count: int) -> None:
        """Never more than the quota in what is believed to be one month; with a right clock, all of each month."""
        month = self.month()
        for _ in range(count):
            may = quota_left(self.table.words, 2, month, QUOTA) > 0
            left = take_lookups(self.table.words, 2, month, QUOTA, 1)
            assert may == (left >= 0)
            if left >= 0:
                assert self.counted.take(self.clock.true_ns, month) is None
                self.months[month] = self.months.get(month, 0) + 1
            elif not self.was_set:
                assert self.months.get(month, 0) == QUOTA

    @rule()
    def restart(self) -> None:
        """All processes of the node are new."""
        self.open()

    @rule(seconds=st.sampled_from([1, 40]))
    def reboot(self, seconds: int) -> None:
        """The machine starts again: another monotonic clock, and NTP has set the other one right."""
        self.table.note_clock(self.clock.monotonic_ns(), self.clock.wall_ns())
        error_ns = self.clock.wall_error_ns
        self.clock.true_ns += seconds * NS_PER_SECOND
        self.clock.boot()
        self.boot += 1
        if error_ns:  # TATs are placed by a clock that was wrong: a full bucket is all that may come of it
            self.paced.forget_pace()
            self.free.forget_pace()
        self.open()

    @invariant()
    def the_file_says_what_was_granted(self) -> None:
        """The newest month's count is never below what this world gave in it."""
        month, used = quota_used(self.table, 2)
        assert used <= QUOTA
        assert (month, used) == (self.counted.newest_month, self.counted.in_month)


LimitsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class TestLimits(LimitsMachine.TestCase):
    """Found by pytest."""
