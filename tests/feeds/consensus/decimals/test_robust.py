"""Majority, cut, median and confidence of sorted prices."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.consensus.decimals.robust import majority_window, median, pyth_price, robust_cut

D = Decimal

near_sets = st.builds(
    lambda base, steps: [D(base * 10_000 + base * step).scaleb(-6) for step in steps],
    st.integers(10_000, 10_000_000),
    st.lists(st.integers(-60, 60), min_size=2, max_size=6),
)


@pytest.mark.parametrize(
    ("votes", "price", "confidence"),
    [
        ([("100.00", "1.00")], "100.00", "1.00"),
        ([("101", "1"), ("110", "10")], "101.50", "8.50"),
        ([("100", "1")] * 3 + [("80", "0.1")], "99.50", "0.50"),
        ([("10000", "5"), ("10001", "5"), ("10002", "5"), ("9990", "5"), ("8000", "1")], "9996", "11"),
        (
            [("71000", "20"), ("71005", "15"), ("70998", "25"), ("71003", "10"), ("71010", "40"), ("71002", "20")],
            "71002.5",
            "17.5",
        ),
    ],
)
def test_confidence_reproduces_pyths_results(votes: list[tuple[str, str]], price: str, confidence: str) -> None:
    """Three votes a source, quartiles: the published results of Pyth's aggregation."""
    assert pyth_price([(D(p), D(c)) for p, c in votes]) == (D(price), D(confidence))


@given(prices=near_sets)
def test_a_majority_always_surrounds_the_median(prices: list[Decimal]) -> None:
    """So the middle of a set with a majority lies within it."""
    ordered = sorted(prices)
    window = majority_window(ordered, 100, len(ordered) // 2 + 1)

    if window is not None:
        assert window[0] <= median(ordered) <= window[1]


def test_a_window_is_the_narrowest_that_holds_as_many_as_are_needed() -> None:
    """Three of five; not one that is too wide; none when there are fewer than are needed."""
    prices = [D(100), D(100), D("100.5"), D("100.6"), D("100.7")]

    assert majority_window(prices, 100, 3) == (D("100.5"), D("100.7"))
    assert majority_window(prices, 10, 3) is None
    assert majority_window(prices, 100, 6) is None


def test_equal_prices_are_cut_by_the_floor_alone() -> None:
    """Without a deviation the limit is the floor: 10 bps of 100."""
    assert robust_cut([D(100)] * 4 + [D(101)], 10) == (D(100), D(0), D("0.1"))
