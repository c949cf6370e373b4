"""workers/push/schedule.py: cadences, back-offs and stalls, by hand and by a state machine."""

import itertools
import random
from collections import Counter
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trinity.clock import NS_PER_SECOND
from workers.push.entries import DEVIATION_GAP_NS, LATE_MAX_NS, NEVER
from workers.push.schedule import (
    BACKOFF_CAP_NS,
    RETRY_AFTER_CAP_NS,
    Cadence,
    Due,
    Scheduler,
    dues_of,
    spread,
)

S = NS_PER_SECOND
START = 1_000_000 * S
EVERY = 10_000


def _interval(seconds: int) -> Cadence:
    return Cadence(seconds * S, 0, deviates=False)


def _scheduler(*cadences: Cadence) -> Scheduler:
    made = Scheduler(random.Random(1))
    for number, cadence in enumerate(cadences, 1):
        made.put(number, cadence, START)
    return made


def _next(scheduler: Scheduler, since_ns: int, until_ns: int, step_ns: int = S // 100) -> list[tuple[int, Due]]:
    """Everything that falls due in this time, each delivered at once."""
    found = []
    for now_ns in range(since_ns, until_ns, step_ns):
        for due in dues_of(scheduler.due(now_ns, EVERY)):
            found.append((now_ns, due))
            scheduler.delivered(due, now_ns)
    return found


def test_an_interval_is_kept_to_the_nanosecond() -> None:
    """Due times lie on a grid, whenever the loop comes by."""
    found = [due.due_ns for _, due in _next(_scheduler(_interval(3)), START, START + 60 * S, S // 7)]
    assert {later - earlier for earlier, later in itertools.pairwise(found)} == {3 * S}
    assert len(found) == 20


def test_start_phases_are_spread() -> None:
    """Of 10,000 subscriptions that begin together, each tenth of the interval gets a tenth, within a fifth of it."""
    scheduler = _scheduler(*[_interval(10)] * 10_000)
    tenths = Counter((due.due_ns - START) // S for _, due in _next(scheduler, START, START + 10 * S + 1))
    assert sum(tenths.values()) == 10_000
    assert all(800 < tenths[tenth] < 1_200 for tenth in range(10))


def test_a_stall_makes_no_burst() -> None:
    """After a minute without a turn only what was due in the last second is sent, and the rest is skipped."""
    scheduler = _scheduler(*[_interval(10)] * 10_000)
    begun = dues_of(scheduler.due(START + 60 * S, EVERY))
    assert len(begun) < 1_300
    assert all(START + 60 * S - due.due_ns <= LATE_MAX_NS for due in begun)
    assert scheduler.skipped == 10_000 - len(begun)
    for due in begun:
        scheduler.delivered(due, START + 60 * S)
    later = _next(scheduler, START + 60 * S + 1, START + 70 * S)
    assert max(Counter(now_ns // S for now_ns, _ in later).values()) < 1_300


def test_heartbeats_after_a_stall_are_spread_again() -> None:
    """Those without an interval as well."""
    scheduler = _scheduler(*[Cadence(0, 100 * S, deviates=False)] * 10_000)
    _next(scheduler, START, START + 61 * S)
    assert len(dues_of(scheduler.due(START + 1_000 * S, EVERY))) < 400
    found = _next(scheduler, START + 1_000 * S, START + 1_061 * S, S // 10)
    assert max(Counter(now_ns // S for now_ns, _ in found).values()) < 400


def test_a_heartbeat_comes_after_silence_only() -> None:
    """A deviation puts it off."""
    scheduler = _scheduler(Cadence(0, 30 * S, deviates=True))
    ((at_ns, first),) = _next(scheduler, START, START + 31 * S)[:1]
    assert first.reason == "heartbeat"
    (moved,) = dues_of(scheduler.moved([1], at_ns + 20 * S))
    assert moved.reason == "deviation"
    scheduler.delivered(moved, at_ns + 20 * S)
    (after,) = _next(scheduler, at_ns + 20 * S, at_ns + 51 * S)
    assert after[1].due_ns == at_ns + 50 * S


def test_a_deviation_is_never_nearer_than_a_second_to_the_last_message() -> None:
    """It is asked for again as long as it holds."""
    scheduler = _scheduler(Cadence(0, 0, deviates=True))
    assert dues_of(scheduler.moved([1], START)) == []  # nothing has been told that could have moved
    ((at_ns, first),) = _next(scheduler, START, START + 61 * S)
    assert first.reason == "deviation"
    assert dues_of(scheduler.moved([1], first.due_ns + DEVIATION_GAP_NS - 1)) == []
    assert len(dues_of(scheduler.moved([1, 2], first.due_ns + DEVIATION_GAP_NS))) == 1
    assert dues_of(scheduler.moved([1], at_ns + 10 * S)) == []  # one is under way


def test_what_falls_due_meanwhile_is_one_pending_message() -> None:
    """A receiver that takes 10 s for a message of 3 s gets the newest one then, and no other."""
    scheduler = _scheduler(_interval(3))
    now_ns = START
    while not (begun := dues_of(scheduler.due(now_ns, EVERY))):
        now_ns += S // 100
    (first,) = begun
    for _ in range(1_000):
        now_ns += S // 100
        assert dues_of(scheduler.due(now_ns, EVERY)) == []
    assert scheduler.is_superseded(first)
    scheduler.delivered(first, now_ns)
    (second,) = dues_of(scheduler.due(now_ns, EVERY))
    assert not scheduler.is_superseded(second)
    scheduler.delivered(second, now_ns)
    assert dues_of(scheduler.due(now_ns, EVERY)) == []


def test_a_failing_receiver_is_backed_off_alone_and_probed_forever() -> None:
    """Twice as long each time, to 15 minutes; the other one keeps its interval; each probe is a recovery."""
    scheduler = _scheduler(_interval(10), _interval(10))
    waits, others, now_ns, failed_ns = [], 0, START, 0
    while len(waits) < 12:
        now_ns += S
        for due in dues_of(scheduler.due(now_ns, EVERY)):
            if due.id == 2:
                others += 1
                scheduler.delivered(due, now_ns)
                continue
            if failed_ns:
                waits.append(now_ns - failed_ns)
                assert due.is_probe
                assert due.reason == "recovery"
            failed_ns = now_ns
            scheduler.failed(due, now_ns)
    for exponent, wait_ns in enumerate(waits):
        window_ns = min(10 * S << exponent, BACKOFF_CAP_NS)
        assert 0.8 * window_ns <= wait_ns <= window_ns + S
    assert others - (now_ns - START) // (10 * S) in (0, 1)
    assert scheduler.failing == 1


def test_success_brings_the_old_cadence_back_at_once() -> None:
    """The grid is the same as before."""
    scheduler = _scheduler(_interval(10))
    before = _next(scheduler, START, START + 10 * S + 1)[0][1].due_ns
    for _ in range(5):
        now_ns = START + 20 * S
        while not (begun := dues_of(scheduler.due(now_ns, EVERY))):
            now_ns += S
        scheduler.failed(begun[0], now_ns)
    while not (begun := dues_of(scheduler.due(now_ns, EVERY))):
        now_ns += S
    scheduler.delivered(begun[0], now_ns)
    assert scheduler.failing == 0
    (_, after) = _next(scheduler, now_ns, now_ns + 10 * S + 1)[0]
    assert after.reason == "interval"
    assert (after.due_ns - before) % (10 * S) == 0


@pytest.mark.parametrize(("asked_s", "least_ns"), [(1.0, 8 * S), (600.0, 600 * S), (1e9, RETRY_AFTER_CAP_NS)])
def test_a_receiver_says_when_to_come_back_but_not_sooner_than_we_would(asked_s: float, least_ns: int) -> None:
    """Retry-After, with a cap."""
    scheduler = _scheduler(_interval(10))
    now_ns = START
    while not (begun := dues_of(scheduler.due(now_ns, EVERY))):
        now_ns += S
    again_ns = scheduler.failed(begun[0], now_ns, asked_s)
    assert least_ns <= again_ns - now_ns <= max(least_ns, 10 * S)


def test_a_failing_one_is_taken_on_where_its_predecessor_left_it() -> None:
    """A restart is no reason to hammer a receiver that is down."""
    scheduler = Scheduler(random.Random(1))
    scheduler.put(1, _interval(10), START, failures=9, wait_ns=500 * S)
    assert dues_of(scheduler.due(START + 499 * S, EVERY)) == []
    (probe,) = dues_of(scheduler.due(START + 500 * S, EVERY))
    assert probe.is_probe
    assert scheduler.failed(probe, START + 500 * S) >= START + 500 * S + BACKOFF_CAP_NS * 4 // 5


def test_what_was_let_go_costs_no_memory() -> None:
    """A thousand changes of a cadence leave one place in the table, and places are used again."""
    scheduler = _scheduler(_interval(10))
    for number in range(1_000):
        scheduler.put(1, _interval(3 + number % 50), START)
        scheduler.put(2 + number, _interval(3), START)
        scheduler.remove(2 + number)
    assert len(scheduler._due_ns) == 256
    assert np.count_nonzero(scheduler._due_ns != NEVER) == 1


def test_the_table_grows() -> None:
    """Whoever was there keeps place and time."""
    scheduler = _scheduler(_interval(10))
    before = scheduler.row_of(1), scheduler.next_due_ns()
    for number in range(2, 1_000):
        scheduler.put(number, _interval(60), START + 100 * S)
    assert (scheduler.row_of(1), scheduler.next_due_ns()) == before
    assert len({scheduler.row_of(number) for number in range(1, 1_000)}) == 999


def test_of_more_than_there_is_room_for_the_oldest_go_first() -> None:
    """The others keep their time."""
    scheduler = _scheduler(*[_interval(3)] * 100)
    first = dues_of(scheduler.due(START + S // 2, 5))
    others = dues_of(scheduler.due(START + S // 2, EVERY))
    assert len(first) == 5
    assert others
    assert max(due.due_ns for due in first) <= min(due.due_ns for due in others)
    assert scheduler.flying == len(first) + len(others)


def test_thousands_land_in_one_call_as_they_would_one_by_one() -> None:
    """What is in flight no more, or belongs to a former life of its row, is left alone."""
    scheduler = _scheduler(*[_interval(3)] * 1_000)
    begun = scheduler.due(START + S, EVERY)
    assert len(begun) > 100
    scheduler.remove(int(begun[0]["id"]))
    scheduler.put(5_000, _interval(3), START)  # has the row now
    scheduler.delivered(dues_of(begun)[1], START + S)
    scheduler.all_delivered(begun, START + S)
    assert scheduler.flying == 0
    found = [due.id for _, due in _next(scheduler, START + S, START + 4 * S + 1)]
    assert sorted(found) == [number for number in range(1, 1_001) if number != begun[0]["id"]] + [5_000]


class Cadences(RuleBasedStateMachine):
    """Any order of turns, stalls, outcomes, changes and moves, against what must always hold."""

    scheduler: Scheduler

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.scheduler = Scheduler(random.Random(seed))
        self.now_ns = START
        self.cadences: dict[int, Cadence] = {}
        self.flying: dict[int, Due] = {}
        self.failures: Counter[int] = Counter()
        self.not_before: dict[int, int] = {}
        self.last_due_ns: dict[int, int] = {}

    @rule(
        number=st.integers(1, 6),
        interval=st.sampled_from([0, 3, 10, 60]),
        heartbeat=st.sampled_from([0, 3, 100, 86_400]),
        deviates=st.booleans(),
    )
    def put(self, number: int, interval: int, heartbeat: int, deviates: bool) -> None:
        cadence = Cadence(interval * S, heartbeat * S, deviates or not (interval or heartbeat))
        self.scheduler.put(number, cadence, self.now_ns)
        self.cadences[number] = cadence
        self.not_before.pop(number, None)
        self.last_due_ns.pop(number, None)

    @rule(number=st.integers(1, 6))
    def remove(self, number: int) -> None:
        self.scheduler.remove(number)
        for of in (self.cadences, self.flying, self.failures, self.not_before, self.last_due_ns):
            of.pop(number, None)  # type: ignore[attr-defined]

    @rule(milliseconds=st.one_of(st.integers(0, 200), st.integers(0, 4_000), st.integers(0, 2_000_000)))
    def wait(self, milliseconds: int) -> None:
        self.now_ns += milliseconds * 1_000_000

    @rule(most=st.integers(0, 6))
    def turn(self, most: int) -> None:
        begun = dues_of(self.scheduler.due(self.now_ns, most))
        assert len(begun) <= most
        for due in begun:
            assert 0 <= self.now_ns - due.due_ns <= LATE_MAX_NS, "what was missed is skipped"
            self._note(due)

    @rule(numbers=st.lists(st.integers(1, 7), unique=True))
    def move(self, numbers: list[int]) -> None:
        for due in dues_of(self.scheduler.moved(numbers, self.now_ns)):
            assert due.reason == "deviation"
            assert self.cadences[due.id].deviates
            assert not self.failures[due.id]
            self._note(due)

    def _note(self, due: Due) -> None:
        assert due.id in self.cadences
        assert due.id not in self.flying, "one message in flight"
        assert due.is_probe == (self.failures[due.id] > 0)
        assert (due.reason == "recovery") == due.is_probe
        assert self.now_ns >= self.not_before.get(due.id, 0), "never earlier than the back-off"
        last_ns = self.last_due_ns.get(due.id)
        if last_ns is not None:
            assert due.due_ns > last_ns
        cadence = self.cadences[due.id]
        if due.reason == "interval" and cadence.interval_ns and due.due_ns > self.now_ns - LATE_MAX_NS:
            assert (due.due_ns - spread(due.id)) % cadence.interval_ns == 0, "on its grid"
        self.last_due_ns[due.id] = due.due_ns
        self.flying[due.id] = due

    @precondition(lambda self: self.flying)
    @rule(choose=st.randoms(use_true_random=False), fate=st.sampled_from(["delivered", "failed", "postponed"]))
    def land(self, choose: Any, fate: str) -> None:
        number = choose.choice(sorted(self.flying))
        due = self.flying.pop(number)
        if fate == "delivered":
            self.scheduler.delivered(due, self.now_ns)
            self.failures[number] = 0
            self.not_before.pop(number, None)
        elif fate == "failed":
            again_ns = self.scheduler.failed(due, self.now_ns)
            self.failures[number] += 1
            window_ns = self.cadences[number].period_ns << min(self.failures[number] - 1, 10)
            assert self.now_ns < again_ns <= self.now_ns + min(window_ns, BACKOFF_CAP_NS)
            self.not_before[number] = again_ns
        else:
            self.scheduler.postponed(due, self.now_ns)

    @precondition(lambda self: self.flying)
    @rule(choose=st.randoms(use_true_random=False))
    def land_of_a_former_life(self, choose: Any) -> None:
        """What was under way when its subscription was removed and made again says nothing of the new one."""
        number = choose.choice(sorted(self.flying))
        old = self.flying[number]
        cadence = self.cadences[number]
        self.remove(number)
        self.scheduler.put(number, cadence, self.now_ns)
        self.cadences[number] = cadence
        self.scheduler.failed(old, self.now_ns)
        assert self.scheduler.is_superseded(old)

    @invariant()
    def counts_are_true(self) -> None:
        if not hasattr(self, "cadences"):
            return
        assert len(self.scheduler) == len(self.cadences)
        assert self.scheduler.flying == len(self.flying)
        assert self.scheduler.failing == sum(self.failures[number] > 0 for number in self.cadences)

    @invariant()
    def nobody_is_forgotten(self) -> None:
        """Whoever has an interval or a heartbeat, or fails, is due at some time, or is in flight."""
        if not hasattr(self, "cadences"):
            return
        for number, cadence in self.cadences.items():
            if number not in self.flying and (cadence.interval_ns or cadence.heartbeat_ns or self.failures[number]):
                assert self.scheduler._due_ns[self.scheduler.row_of(number)] != NEVER


TestCadences = Cadences.TestCase
