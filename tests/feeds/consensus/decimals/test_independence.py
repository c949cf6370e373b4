"""How many may lie, what they touch, and what stands although they do."""

from decimal import Decimal
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.consensus.decimals.independence import faulty_of, independent, is_backed
from trinity.limits import BACKED_WINDOW_BPS

D = Decimal


def test_fewer_than_half_of_the_live_may_lie() -> None:
    """None of none, one of three, two of five and of six, three of eight."""
    assert [faulty_of(live) for live in range(9)] == [0, 0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("sets", "size"),
    [
        ([], 0),
        ([{0}], 1),
        ([{0}, {1}, {2}], 3),
        ([{2}, {4}, {2, 5}], 2),
        ([{0, 1}, {1, 2}, {0, 2}], 2),
        ([{0, 3}, {1, 3}, {2, 3}], 1),
        ([{7}, {0, 6}, {1, 6}, {5, 0}], 3),
    ],
)
def test_the_smallest_set_that_touches_all(sets: list[set[int]], size: int) -> None:
    """Direct legs one by one, crossed ones through whom they share."""
    assert independent(frozenset(sum(1 << one for one in each) for each in sets)) == size


@given(st.frozensets(st.integers(1, 255), max_size=12))
def test_as_many_as_are_counted_touch_all_and_fewer_do_not(masks: frozenset[int]) -> None:
    """Against a search over all 255 sets of eight exchanges."""
    touching = [chosen for chosen in range(256) if all(chosen & mask for mask in masks)]

    assert independent(masks) == min(chosen.bit_count() for chosen in touching)


@given(
    honest=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    liars=st.lists(st.integers(-10_000, 10_000), max_size=3),
)
def test_a_backed_median_is_near_an_honest_price(honest: list[int], liars: list[int]) -> None:
    """With more prices than liars: among the honest where they are the most, within the window of one otherwise."""
    faulty = len(liars)
    prices = sorted(D(1_000_000 + 100 * bps) for bps in (*honest, *liars))
    half = len(prices) // 2
    middle = prices[half] if len(prices) % 2 else (prices[half - 1] + prices[half]) / 2
    if len(prices) <= faulty or not is_backed(prices, middle, faulty):
        return
    least, most = (D(1_000_000 + 100 * bps) for bps in (min(honest), max(honest)))
    if len(honest) > faulty:
        assert least <= middle <= most
    else:
        nearest = min(abs(middle - (1_000_000 + 100 * bps)) for bps in honest)
        assert nearest * 10_000 <= middle * BACKED_WINDOW_BPS * D("1.05")


@pytest.mark.parametrize("liars", [2, 3])
def test_a_median_between_two_camps_is_not_backed(liars: int) -> None:
    """As many honest as liars, far apart: whoever lies, nobody can tell."""
    prices = [D(100)] * liars + [D(101)] * liars

    assert not is_backed(prices, D("100.5"), liars)
    assert all(is_backed(list(some), some[1], 1) for some in combinations(prices[: 2 * liars - 1], 3))
