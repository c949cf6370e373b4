"""trinity/memory/gcra.py"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.limits import RATE_REQUESTS_MAX
from trinity.memory.gcra import BUCKET_NS_MAX, FOUND_WORDS, REMAINING, RETRY_NS, consume
from trinity.rates import rate_of, requests_of, seconds_of

SECOND = 1_000_000_000
NOW_NS = 1_000 * SECOND

pytestmark = pytest.mark.uncompiled


class Cell:
    """One limit in a word of its own."""

    def __init__(self, rate: int, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self.words = np.zeros(1, dtype=np.uint64)
        self.found = np.zeros(FOUND_WORDS, dtype=np.int64)

    def take(self, now_ns: int) -> bool:
        return bool(consume(self.words, 0, now_ns, self.rate, self.burst, self.found))


def test_a_burst_is_given_at_once_and_then_one_each_interval() -> None:
    """10 a second, 3 at once: the fourth waits for a tenth of a second, and is told so."""
    cell = Cell(10, 3)
    left = []
    for _ in range(3):
        assert cell.take(NOW_NS)
        left.append(int(cell.found[REMAINING]))
    assert left == [2, 1, 0]
    assert not cell.take(NOW_NS)
    assert cell.found[RETRY_NS] == SECOND // 10
    assert not cell.take(NOW_NS + SECOND // 10 - 1)
    assert cell.take(NOW_NS + SECOND // 10)


def test_a_refusal_costs_nothing() -> None:
    """Who hammers at a closed gate is let in at the same moment as who waits."""
    cell = Cell(1, 1)
    assert cell.take(NOW_NS)
    for tick in range(100):
        assert not cell.take(NOW_NS + tick)
    assert cell.take(NOW_NS + SECOND)


RATES = st.builds(rate_of, st.integers(1, RATE_REQUESTS_MAX), st.sampled_from([1, 1, 5, 60, 3600]))


@given(
    rate=RATES,
    burst=st.integers(1, 1000),
    steps=st.lists(st.integers(0, SECOND // 10), max_size=300),
)
def test_no_window_ever_admits_more_than_the_rate_and_the_burst(rate: int, burst: int, steps: list[int]) -> None:
    """Whatever the arrivals: between any two of them at most burst + rate * time were admitted."""
    cell, now_ns, admitted = Cell(rate, burst), NOW_NS, []
    for step in steps:
        now_ns += step
        if cell.take(now_ns):
            admitted.append(now_ns)
    for first in range(len(admitted)):
        count, window_ns = len(admitted) - first, admitted[-1] - admitted[first]
        assert (count - burst) * SECOND * seconds_of(rate) <= requests_of(rate) * window_ns


@given(rate=RATES, burst=st.integers(1, 1000), gap_ns=st.integers(0, 10 * SECOND))
def test_who_comes_when_told_is_admitted_and_not_a_nanosecond_before(rate: int, burst: int, gap_ns: int) -> None:
    """RETRY_NS is exact, and what is said to be left can be taken."""
    cell = Cell(rate, burst)
    for _ in range(burst):
        assert cell.take(NOW_NS)
    cell.take(NOW_NS + gap_ns)
    left, now_ns = int(cell.found[REMAINING]), NOW_NS + gap_ns
    assert [cell.take(now_ns) for _ in range(left + 1)] == [True] * left + [False]
    retry_ns = int(cell.found[RETRY_NS])
    assert not cell.take(now_ns + retry_ns - 1)
    assert cell.take(now_ns + retry_ns)


def test_a_tat_of_other_terms_is_cut_to_the_terms_of_now() -> None:
    """A TAT an hour ahead under a plan of 1 a second and 3,600 at once is a full bucket under 100 a second and 10."""
    cell = Cell(1, 3600)
    for _ in range(3600):
        assert cell.take(NOW_NS)
    cell.rate, cell.burst = 100, 10
    assert not cell.take(NOW_NS)
    assert cell.found[RETRY_NS] == SECOND // 100
    assert cell.take(NOW_NS + SECOND // 100)


def test_a_worker_with_an_older_time_takes_nothing_back() -> None:
    """Times of two workers differ by a turn: the older one neither admits more nor brings the TAT nearer."""
    cell = Cell(1000, 1)
    assert cell.take(NOW_NS)
    before = int(cell.words[0])
    assert not cell.take(NOW_NS - 5 * SECOND)
    assert int(cell.words[0]) == before


def test_one_in_five_seconds_is_one_in_five_seconds() -> None:
    """A rate below one a second is exact, and a bucket of 73 years does not overflow."""
    cell = Cell(rate_of(1, 5), 1)
    assert cell.take(NOW_NS)
    assert not cell.take(NOW_NS + 5 * SECOND - 1)
    assert int(cell.found[RETRY_NS]) == 1
    assert cell.take(NOW_NS + 5 * SECOND)
    widest = Cell(rate_of(1, 3600), BUCKET_NS_MAX // (3600 * SECOND))
    assert [widest.take(NOW_NS) for _ in range(3)] == [True] * 3
    assert 0 < int(widest.found[REMAINING]) < 2**62


def test_a_burst_of_nothing_admits_nobody() -> None:
    """A rate without a burst is no division by zero and no open gate."""
    assert not Cell(5, 0).take(NOW_NS)
