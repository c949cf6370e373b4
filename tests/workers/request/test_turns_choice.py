"""workers/request/turns.py without the loop: which of what is ready a turn takes, and when it ends."""

import heapq
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trinity.compiled import jit_enabled
from trinity.limits import REFUSING_SHARE
from trinity.memory.admission_table import CLASSES
from trinity.native.libc import EPOLLERR, EPOLLIN, EVENT_WORDS, Events, set_event
from workers.request import governor as law
from workers.request import turns
from workers.request.governor import LIMIT_MAX, WINDOW_NS
from workers.request.http import slots
from workers.request.http.slots import DONE_NS, HEAD, IDLE, NEW, OVER, OVER_COUNT, PHASE, STALLED

# The second part of `make test` runs it: compiled code takes a whole worker, and this is the governor's part of one.
pytestmark = [
    pytest.mark.uncompiled,
    pytest.mark.skipif(jit_enabled(), reason="about uncompiled code: connections without the rest of a worker"),
]

TARGET_NS = 1_000_000
MANY = 10**6


def table_of(count: int) -> Any:
    """What the governor uses of so many connections, all of them idle."""
    words = {name: np.zeros(count, dtype=np.int64) for name in ("known", "over", "over_marks")}
    table = np.zeros((count, 8), dtype=np.int64)
    table[:, PHASE] = IDLE
    return SimpleNamespace(table=table, state=np.zeros(32, dtype=np.int64), **words)


def events_of(slots_of: list[int], errors: frozenset[int] = frozenset()) -> Events:
    events = np.zeros((len(slots_of) + 1) * EVENT_WORDS, dtype=np.uint32)
    for i, slot in enumerate(slots_of):
        set_event(events, i, EPOLLERR if i in errors else EPOLLIN, slot)
    return events


def busy_governor(learned: float) -> turns.Governor:
    """Of a worker that was not idle, since time 0."""
    governor = turns.make_governor(TARGET_NS)
    governor.requests["learned"] = learned
    governor.marks[turns._WEIGHT], governor.marks[turns._BUSY_UNTIL_NS] = 2, 1_000
    return governor


@given(
    st.lists(st.tuples(st.integers(0, 39), st.booleans()), min_size=1, max_size=80),
    st.lists(
        st.tuples(st.integers(0, CLASSES - 1), st.sampled_from([IDLE, HEAD, NEW, OVER, STALLED])),
        min_size=40,
        max_size=40,
    ),
    st.integers(1, 60),
)
def test_each_class_gets_its_share_and_of_it_the_newest(
    came: list[tuple[int, bool]], known: list[tuple[int, int]], limit: int
) -> None:
    """A connection that is ready twice counts once; what is no request is served whatever the limit."""
    at, governor = table_of(40), busy_governor(limit)
    for slot, (which, phase) in enumerate(known):
        at.known[slot], at.table[slot, PHASE] = which, phase
    order, errors = [slot for slot, _ in came], frozenset(i for i, (_, error) in enumerate(came) if error)
    asked = [
        (i, slot) for i, slot in enumerate(order) if at.table[slot, PHASE] in (IDLE, HEAD, NEW) and i not in errors
    ]
    first = {slot: i for i, slot in reversed(asked)}
    wanted, shares = np.zeros(CLASSES, np.int64), np.zeros(CLASSES, np.int64)
    for slot in first:
        wanted[known[slot][0]] += 1
    law.share_out(law.limit_at(limit, len(first)), wanted, shares)
    chooses = len(order) > law.limit_at(limit, len(order))
    turns.begin_turn(governor, at, events_of(order, errors), len(order), 2_000)
    taken = [turns.takes(governor, at, slot, EPOLLERR if i in errors else EPOLLIN, 0) for i, slot in enumerate(order)]
    for which in range(CLASSES):
        mine = sorted(i for slot, i in first.items() if known[slot][0] == which)
        newest = set(mine[len(mine) - int(shares[which]) :] if chooses else mine)
        errs = {order[i] for i in errors}
        if not any(known[slot][0] == which for slot in errs):
            assert {i for i in mine if taken[i]} == newest
    assert all(taken[i] for i in range(len(order)) if i in errors)
    assert (at.over_marks & slots.CHOSEN_FROM == 0).all()
    put_off = {slot for i, slot in asked if not taken[i]}
    assert at.state[OVER_COUNT] == len(put_off)
    assert all(at.table[slot, PHASE] == OVER for slot in put_off)


@given(st.integers(1, 200), st.integers(1, 3 * TARGET_NS), st.booleans())
def test_a_turn_under_a_limit_ends_with_the_target_and_never_before_its_first_answer(
    count: int, service_ns: int, limited: bool
) -> None:
    """Without a limit a turn takes everything; the one that it was at when the target passed is still answered."""
    at, governor = table_of(count), busy_governor(LIMIT_MAX - 1 if limited else LIMIT_MAX)
    turns.begin_turn(governor, at, events_of(list(range(count))), count, 2_000)
    at.state[DONE_NS], taken = 2_000, 0
    for slot in range(count):
        if turns.takes(governor, at, slot, EPOLLIN, 0):
            at.state[DONE_NS] += service_ns
            taken += 1
    assert taken == (min(count, TARGET_NS // service_ns + 1) if limited else count)
    assert at.state[OVER_COUNT] == count - taken


def test_an_idle_worker_takes_everything_whatever_its_limit() -> None:
    """A burst that meets a worker with nothing to do is no overload."""
    at, governor = table_of(50), busy_governor(1.0)
    now_ns = MANY  # long after the turn before
    turns.begin_turn(governor, at, events_of(list(range(50))), 50, now_ns)
    at.state[DONE_NS] = now_ns
    assert all(turns.takes(governor, at, slot, EPOLLIN, 0) for slot in range(50))


def test_who_came_first_in_the_turn_before_has_waited_longest() -> None:
    """The kernel reports connections in the order in which they came."""
    at, governor = table_of(100), busy_governor(LIMIT_MAX)
    governor.marks[turns._BUSY_UNTIL_NS] = MANY
    turns.begin_turn(governor, at, events_of(list(range(100))), 100, MANY)
    at.state[DONE_NS] = MANY
    for slot in range(100):
        turns.takes(governor, at, slot, EPOLLIN, 0)
    law.end_window(governor.requests, float(TARGET_NS))
    assert governor.requests["p50_ns"] == pytest.approx(MANY / 2, rel=0.125)
    assert governor.requests["p90_ns"] == pytest.approx(MANY * 0.9, rel=0.125)


class Overload:
    """A worker's turns over connections that ask at a fixed rate, whatever becomes of their requests.

    An answer takes `service_ns`, a refusal of all that one read brings REFUSAL of it.
    """

    REFUSAL, OF_A_READ = 0.1, 2

    def __init__(self, connections: int, service_ns: int, load: float) -> None:
        self.at, self.governor = table_of(connections), turns.make_governor(TARGET_NS)
        self.service_ns, self.now_ns, self.credit = service_ns, 0.0, 0.0
        self.gap_ns = connections * service_ns / load
        self.due = [(self.gap_ns * i / connections, i) for i in range(connections)]
        self.waiting: list[deque[float]] = [deque() for _ in range(connections)]
        self.ready: dict[int, None] = {}
        self.latencies: list[tuple[float, float]] = []  # when, and how long

    def run(self, seconds: float) -> None:
        window_end_ns = float(WINDOW_NS)
        while self.now_ns < seconds * 1e9:
            self._arrive()
            self.now_ns += 2_000
            if self.now_ns >= window_end_ns:
                law.end_window(self.governor.requests, float(TARGET_NS))
                window_end_ns = self.now_ns + WINDOW_NS
            self._turn()

    def _turn(self) -> None:
        came, self.ready, began_ns, at, marks = list(self.ready), {}, self.now_ns, self.at, self.governor.marks
        turns.begin_turn(self.governor, at, events_of(came), len(came), int(began_ns))
        at.state[DONE_NS], again = began_ns, []
        for slot in came:
            if not turns.takes(self.governor, at, slot, EPOLLIN, int(began_ns)) or at.table[slot, PHASE] == OVER:
                continue
            for _ in range(min(self.OF_A_READ, len(self.waiting[slot]))):
                self.now_ns += self.service_ns
                self.latencies.append((self.now_ns, self.now_ns - self.waiting[slot].popleft()))
            at.state[DONE_NS] = self.now_ns
            again += [slot] if self.waiting[slot] else []
        self._refuse(began_ns, not came)
        self._arrive()
        self.ready |= dict.fromkeys(again)
        marks[turns._WEIGHT], marks[turns._BUSY_UNTIL_NS] = len(came), self.now_ns
        if marks[turns._TAKEN] > 1:
            law.note_service(self.governor.requests, (self.now_ns - began_ns) / marks[turns._TAKEN])

    def _refuse(self, began_ns: float, is_idle: bool) -> None:
        self.credit += REFUSING_SHARE * (self.now_ns - began_ns)
        self.credit = max(self.credit, 1.0) if is_idle else self.credit
        while self.at.state[OVER_COUNT] > 0 and self.credit > 0:
            slot = slots.take_over(self.at)
            for _ in range(min(self.OF_A_READ, len(self.waiting[slot]))):
                self.waiting[slot].popleft()
            self.now_ns += self.REFUSAL * self.service_ns
            self.credit -= self.REFUSAL * self.service_ns
            self.at.table[slot, PHASE] = IDLE
            if self.waiting[slot]:
                slots.put_off(self.at, slot, int(self.now_ns))

    def _arrive(self) -> None:
        while self.due[0][0] <= self.now_ns:
            due_ns, slot = heapq.heappop(self.due)
            self.waiting[slot].append(due_ns)
            self.ready[slot] = None
            heapq.heappush(self.due, (due_ns + self.gap_ns, slot))


@settings(deadline=None, max_examples=8)
@given(st.integers(300, 1_000), st.integers(40_000, 200_000), st.floats(1.3, 4.0))
def test_an_overload_of_many_connections_is_over_its_onset_within_three_windows(
    connections: int, service_ns: int, load: float
) -> None:
    """From then on nine tenths of the time are answers, and who is answered has waited for two targets at most."""
    overload = Overload(connections, service_ns, load)
    overload.run(0.75)
    later = [latency for when, latency in overload.latencies if when >= 0.45e9]
    assert len(later) * service_ns >= 0.88 * 0.3e9
    assert np.percentile(later, 99) <= 2 * TARGET_NS + 2 * service_ns
