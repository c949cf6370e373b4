"""workers/push/entries.py: the compiled steps against a schedule that is written another way."""

import random
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.workers.push.heap_schedule import HeapSchedule
from trinity.clock import NS_PER_SECOND
from workers.push.entries import (
    BEGUN_DTYPE,
    ENTRY_DTYPE,
    HEARTBEAT,
    INTERVAL,
    NEVER,
    begin_due,
    begin_moved,
    land,
    plan_next,
    warm_up,
)
from workers.push.schedule import Cadence, Due, Scheduler, dues_of

S = NS_PER_SECOND
START = 1_000_000 * S
EVERY = 10_000
NUMBERS = st.integers(1, 8)


class Twins(RuleBasedStateMachine):
    """Whatever happens to both, the same messages are due at the same nanoseconds for the same reasons."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.table, self.heap = Scheduler(random.Random(seed)), HeapSchedule(random.Random(seed))
        self.now_ns = START
        self.flying: list[tuple[Due, Due]] = []

    @rule(
        number=NUMBERS,
        interval=st.sampled_from([0, 3, 10, 60]),
        heartbeat=st.sampled_from([0, 3, 100, 86_400]),
        deviates=st.booleans(),
        failures=st.sampled_from([0, 0, 0, 1, 12]),
        wait=st.integers(0, 100),
    )
    def put(self, number: int, interval: int, heartbeat: int, deviates: bool, failures: int, wait: int) -> None:
        cadence = Cadence(interval * S, heartbeat * S, deviates or not (interval or heartbeat))
        for schedule in (self.table, self.heap):
            schedule.put(number, cadence, self.now_ns, failures, wait * S)

    @rule(number=NUMBERS)
    def remove(self, number: int) -> None:
        self.table.remove(number)
        self.heap.remove(number)

    @rule(milliseconds=st.one_of(st.integers(0, 200), st.integers(0, 4_000), st.integers(0, 2_000_000)))
    def wait(self, milliseconds: int) -> None:
        self.now_ns += milliseconds * 1_000_000

    @rule(lands_at_once=st.booleans())
    def turn(self, lands_at_once: bool) -> None:
        begun = self.table.due(self.now_ns, EVERY)
        pairs = self._paired(dues_of(begun), self.heap.due(self.now_ns, EVERY))
        if not lands_at_once:
            self.flying += pairs
            return
        self.table.all_delivered(begun, self.now_ns)
        for _, of_heap in pairs:
            self.heap.delivered(of_heap, self.now_ns)

    @rule(numbers=st.lists(NUMBERS, unique=True))
    def move(self, numbers: list[int]) -> None:
        begun = dues_of(self.table.moved(numbers, self.now_ns))
        self.flying += self._paired(begun, self.heap.moved(numbers, self.now_ns))

    @rule(choose=st.randoms(use_true_random=False), fate=st.sampled_from(["delivered", "failed", "postponed"]))
    def land(self, choose: Any, fate: str) -> None:
        if self.flying:
            of_table, of_heap = self.flying.pop(choose.randrange(len(self.flying)))
            assert self.table.is_superseded(of_table) == self.heap.is_superseded(of_heap)
            again = getattr(self.table, fate)(of_table, self.now_ns)
            assert again == getattr(self.heap, fate)(of_heap, self.now_ns)

    def _paired(self, of_table: list[Due], of_heap: list[Due]) -> list[tuple[Due, Due]]:
        pairs = list(zip(sorted(of_table), sorted(of_heap), strict=True))
        assert all(one._replace(flight=0) == other._replace(flight=0) for one, other in pairs)
        return pairs

    @invariant()
    def they_count_the_same(self) -> None:
        if hasattr(self, "table"):
            one, other = self.table, self.heap
            assert (one.flying, one.failing, one.skipped) == (other.flying, other.failing, other.skipped)


TestTwins = Twins.TestCase


def test_the_steps_are_compiled_before_the_fork() -> None:
    """For the types that the schedule calls them with."""
    warm_up()
    entries, due_ns = np.zeros(2, dtype=ENTRY_DTYPE), np.array([START, NEVER])
    entries["interval_ns"], entries["pending_ns"], entries["last_ns"] = 3 * S, -1, -1
    rows, begun = np.flatnonzero(due_ns <= START), np.zeros(1, dtype=BEGUN_DTYPE)
    assert begin_due(entries, due_ns, rows, START, 1, begun) == (1, 0)
    assert begin_moved(entries, due_ns, rows, START, 2, begun.copy()) == 0
    assert land(entries, due_ns, begun, START) == (1, 0)


def test_the_earlier_of_grid_and_heartbeat_is_next() -> None:
    """With its reason; without either none is planned, and the reason stays."""
    entries, due_ns = np.zeros(1, dtype=ENTRY_DTYPE), np.zeros(1, dtype=np.int64)
    for interval, heartbeat, wait, reason in ((10, 0, 4, INTERVAL), (10, 3, 3, HEARTBEAT), (10, 5, 4, INTERVAL)):
        entries["interval_ns"], entries["heartbeat_ns"], entries["phase_ns"] = interval * S, heartbeat * S, 4 * S
        plan_next(entries, due_ns, 0, START)
        assert (due_ns[0], entries[0]["reason"]) == (START + wait * S, reason)
    entries["interval_ns"] = entries["heartbeat_ns"] = 0
    plan_next(entries, due_ns, 0, START)
    assert (due_ns[0], entries[0]["reason"]) == (NEVER, INTERVAL)
