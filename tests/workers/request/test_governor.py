"""The law of the governor: what holds for every history, and what becomes of a queue under it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trinity.memory.admission_table import CLASSES
from workers.request import governor
from workers.request.governor import FIVE_TIMES, LIMIT_MAX, LIMIT_MIN, SAMPLES_MIN, SHARES, WINDOW_NS

pytestmark = pytest.mark.uncompiled

TARGETS = st.floats(1_000.0, 1e9)  # 1 us to 1 s
LIMITS = st.floats(LIMIT_MIN, LIMIT_MAX)
COUNTS = st.integers(0, 100_000)
DELAYS = st.floats(0.0, 1e12)


@st.composite
def windows(draw: st.DrawFn) -> tuple[float, float, float, float]:
    """In flight, samples, p50 and p90 of a window."""
    p50 = draw(DELAYS)
    return float(draw(COUNTS)), float(draw(COUNTS)), p50, p50 + draw(DELAYS)


HISTORIES = st.lists(windows(), max_size=40)


def after(history: list[tuple[float, float, float, float]], target: float, learned: float = LIMIT_MAX) -> float:
    for window in history:
        learned = governor.next_limit(learned, *window, target)
    return learned


@given(HISTORIES, TARGETS, st.integers(0, 100_000))
def test_the_limit_is_never_below_one(history: list[tuple[float, ...]], target: float, in_flight: int) -> None:
    """Nor above the most that it can be, whatever windows came before."""
    learned = after(history, target)  # type: ignore[arg-type]
    assert LIMIT_MIN <= learned <= LIMIT_MAX
    assert governor.limit_at(learned, in_flight) >= 1


@given(HISTORIES, TARGETS, st.integers(0, CLASSES - 1))
def test_an_idle_worker_always_admits_whoever_comes(
    history: list[tuple[float, ...]], target: float, which: int
) -> None:
    """One request alone has a share whatever its class, after any history."""
    wanted, shares = np.zeros(CLASSES, np.int64), np.zeros(CLASSES, np.int64)
    wanted[which] = 1
    governor.share_out(governor.limit_at(after(history, target), 1), wanted, shares)  # type: ignore[arg-type]
    assert shares[which] == 1


@given(HISTORIES, TARGETS)
def test_the_limit_recovers_without_a_completed_request(history: list[tuple[float, ...]], target: float) -> None:
    """Each empty window raises it until it is no limit: time alone is enough."""
    learned = after(history, target)  # type: ignore[arg-type]
    for _ in range(60):  # six seconds of windows in which nothing was answered
        before, learned = learned, governor.next_limit(learned, 0.0, 0.0, 0.0, 0.0, target)
        assert learned > before or learned == LIMIT_MAX
    assert learned == LIMIT_MAX


@given(LIMITS, TARGETS, COUNTS, st.floats(0, SAMPLES_MIN, exclude_max=True), DELAYS, DELAYS)
def test_a_dip_of_samples_does_not_pull_the_limit_down(
    learned: float, target: float, in_flight: int, samples: float, p50: float, more: float
) -> None:
    """A window of fewer samples than a percentile needs says nothing of a queue."""
    assert governor.next_limit(learned, in_flight, samples, p50, p50 + more, target) >= learned


@given(LIMITS, TARGETS, COUNTS, COUNTS, DELAYS)
def test_a_tail_without_a_queue_does_not_pull_the_limit_down(
    learned: float, target: float, in_flight: int, samples: int, p90: float
) -> None:
    """Where half of all wait less than half the target, the slowest tenth waits for something else."""
    assert governor.next_limit(learned, in_flight, samples, min(target / 2, p90), p90, target) >= learned


@given(LIMITS, st.integers(0, 100_000))
def test_the_limit_is_at_most_five_times_what_is_in_flight(learned: float, in_flight: int) -> None:
    """What it learned in idle hours does not let a burst in."""
    assert governor.limit_at(learned, in_flight) <= max(1, FIVE_TIMES * in_flight)


@given(LIMITS, TARGETS, COUNTS, st.integers(int(SAMPLES_MIN), 10**6), st.floats(1.01, 1e6))
def test_a_queue_over_the_target_shrinks_the_limit_below_what_was_taken(
    learned: float, target: float, in_flight: int, samples: int, factor: float
) -> None:
    """A median over the target is a queue, however long it is; the limit ends at its least."""
    found = governor.next_limit(learned, in_flight, samples, target * factor, target * factor, target)
    assert found < max(min(learned, in_flight), LIMIT_MIN) or found == LIMIT_MIN


@given(st.floats(100.0, 1e6), st.integers(2, 500), st.floats(1e6, 1e8))
def test_a_worker_that_is_not_run_for_a_while_refuses_nothing_that_it_can_do(
    service_ns: float, in_flight: int, stall_ns: float
) -> None:
    """Half of all wait for a stall of the machine, over and over; what is in flight is done in a moment."""
    target, law = 5e6, governor.make_law()
    for _ in range(30):
        governor.note_in_flight(law, in_flight)
        for turn in range(20):
            governor.note_service(law, service_ns + (stall_ns if turn % 4 == 0 else 0.0) / in_flight)
            governor.note_delay(law, stall_ns if turn % 2 else service_ns, in_flight)
        governor.end_window(law, target)
        if in_flight * service_ns < 0.4 * target:
            assert governor.limit_at(law["learned"], in_flight) >= in_flight


@given(
    st.integers(1, 10_000),
    st.lists(st.integers(0, 10_000), min_size=CLASSES, max_size=CLASSES),
)
def test_the_shares_are_the_limit_and_a_class_gives_way_before_a_higher_one(limit: int, asked: list[int]) -> None:
    """Nothing of the limit is left while anybody wants it, and each class has what it is sure of."""
    wanted, shares = np.array(asked, np.int64), np.zeros(CLASSES, np.int64)
    governor.share_out(limit, wanted, shares)
    assert shares.sum() == min(limit, wanted.sum())
    assert (shares <= wanted).all()
    for which, share in enumerate(SHARES):
        assert shares[which] >= min(wanted[which], int(share * limit))
        if shares[which] > int(share * limit):  # more than it is sure of: no higher class was refused
            assert (shares[which + 1 :] == wanted[which + 1 :]).all()


@given(st.lists(st.tuples(st.floats(1.0, 3e10), st.integers(1, 50)), min_size=1, max_size=50))
def test_percentiles_are_right_within_an_eighth(samples: list[tuple[float, int]]) -> None:
    """Of any delays, from a nanosecond to half a minute, counted in any number."""
    law = governor.make_law()
    for delay, count in samples:
        governor.note_delay(law, delay, count)
    governor.end_window(law, 1e9)
    delays = np.sort(np.repeat([delay for delay, _ in samples], [count for _, count in samples]))
    for share, found in ((0.5, law["p50_ns"]), (0.9, law["p90_ns"])):
        true = max(delays[int(np.ceil(share * len(delays))) - 1], 64.0)
        assert abs(found - true) / true <= 0.125


@settings(deadline=None, max_examples=25)
@given(st.floats(200.0, 200_000.0), st.floats(1.5, 6.0), st.integers(0, 2**32 - 1))
def test_a_queue_under_three_times_the_capacity_settles_at_the_target(
    service_ns: float, load: float, seed: int
) -> None:
    """Turns of a worker that takes what the limit allows: from microseconds to a fifth of a millisecond a request."""
    target, random, law = 5e6, np.random.default_rng(seed), governor.make_law()
    now, started, window_end, served, delays = 0.0, 0.0, float(WINDOW_NS), 0, []
    waiting = 1.0
    while now < 4e9:
        count = int(waiting)
        taken = min(count, governor.limit_at(law["learned"], max(count, 1)))
        governor.note_in_flight(law, count)
        arrived = (started + now) / 2
        started = now
        for i in range(0, taken, max(1, taken // 16)):
            governor.note_delay(law, now - arrived + i * service_ns, max(1, taken // 16))
        now += max(taken, 1) * service_ns * 1.05
        if taken > 1:
            governor.note_service(law, (now - started) / taken)
        if now > 2e9:
            served += taken
            delays.append(started - arrived + taken * service_ns)
        waiting = random.poisson(load * (now - started) / service_ns)  # what is not taken is refused
        if now >= window_end:
            governor.end_window(law, target)
            window_end = now + WINDOW_NS
    assert served * service_ns >= 0.9 * (now - 2e9)
    assert np.median(delays) <= 1.5 * target


def test_nothing_is_lost_to_whole_numbers_at_microseconds() -> None:
    """25 us at 10,000 a second is a quarter of a request in flight."""
    law = governor.make_law()
    for _ in range(100):
        governor.note_in_flight(law, 1)
        governor.note_delay(law, 0.025, 1_000)
        governor.end_window(law, 100.0)
        assert governor.limit_at(law["learned"], 1) >= 1
    assert law["learned"] == LIMIT_MAX
