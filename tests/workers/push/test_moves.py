"""workers/push/moves.py: which subscriptions' prices have moved, against decimals."""

from decimal import Decimal

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from workers.push.moves import MoveWatch

NAN = float("nan")


def _of(*values: float) -> np.ndarray:
    return np.array(values)


def test_a_move_of_exactly_so_many_basis_points_counts() -> None:
    """Up and down, and one tick less does not."""
    watch = MoveWatch()
    watch.put(7, np.array([1]), 100)
    watch.arrived(7, _of(71_000.5))
    for now, is_moved in ((71_710.505, True), (71_710.5, False), (70_290.495, True), (70_290.5, False)):
        assert watch.moved(_of(0, now)) == ([7] if is_moved else [])


def test_a_price_that_the_last_message_had_not_counts_once_it_is_there() -> None:
    """And one that is gone has not moved."""
    watch = MoveWatch()
    watch.put(7, np.array([0, 1]), 50)
    assert watch.moved(_of(NAN, NAN)) == []
    assert watch.moved(_of(1.0, NAN)) == [7]
    watch.arrived(7, _of(1.0, NAN))
    assert watch.moved(_of(1.0, NAN)) == []
    assert watch.moved(_of(NAN, NAN)) == []
    assert watch.moved(_of(1.0, 5.0)) == [7]


def test_many_come_and_go_without_harm_to_the_others() -> None:
    """Places are given up and used again; arrivals of one that has changed meanwhile are passed over."""
    watch = MoveWatch()
    for number in range(1_000):
        watch.put(number, np.arange(25), 10)
        watch.arrived(number, np.full(25, 100.0))
    for number in range(0, 1_000, 2):
        watch.remove(number)
    for number in range(1_000, 3_000):
        watch.put(number, np.arange(3), 10)
        watch.arrived(number, np.full(3, 100.0))
    watch.arrived(1, np.full(24, 50.0))
    values = np.full(25, 100.0)
    assert watch.moved(values) == []
    values[20] = 101.0
    assert watch.moved(values) == list(range(1, 1_000, 2))
    values[0] = 99.0
    assert watch.moved(values) == [*range(1, 1_000, 2), *range(1_000, 3_000)]


@given(
    st.decimals(Decimal("0.000001"), Decimal(1_000_000), places=6),
    st.decimals(Decimal("0.000001"), Decimal(1_000_000), places=6),
    st.integers(1, 10_000),
)
def test_it_is_the_rule_in_decimals(before: Decimal, now: Decimal, bps: int) -> None:
    """|now - before| * 10,000 >= bps * before, but for what a float cannot tell apart."""
    difference = abs(now - before) * 10_000 - bps * before
    if abs(difference) < before * Decimal("0.0001"):
        return
    watch = MoveWatch()
    watch.put(1, np.array([0]), bps)
    watch.arrived(1, _of(float(before)))
    assert bool(watch.moved(_of(float(now)))) == (difference >= 0)


@pytest.mark.parametrize("number", [1, 2])
def test_one_that_is_not_watched_is_passed_over(number: int) -> None:
    """Neither its end nor its arrivals matter."""
    watch = MoveWatch()
    watch.remove(number)
    watch.arrived(number, _of(1.0))
    assert watch.moved(_of(1.0)) == []


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 5), min_size=1, max_size=4, unique=True), st.integers(1, 10_000)),
        min_size=1,
        max_size=8,
    ),
    st.lists(st.sampled_from([NAN, 0.5, 1.0, 71_000.5]), min_size=6, max_size=6),
    st.sets(st.integers(0, 9)),
)
def test_many_messages_arrive_as_they_would_one_by_one(
    of: list[tuple[list[int], int]], values: list[float], arrived: set[int]
) -> None:
    """The same borders to the last bit, also of prices that are not there and of those that are watched no more."""
    now, one_by_one, together = _of(*values), MoveWatch(), MoveWatch()
    for number, (assets, bps) in enumerate(of):
        for watch in (one_by_one, together):
            watch.put(number, np.array(assets), bps)
    for number in arrived:
        one_by_one.arrived(number, now[np.array(of[number][0])] if number < len(of) else now)
    together.all_arrived(sorted(arrived), now)
    for name in ("_low", "_high"):
        assert np.array_equal(getattr(one_by_one, name), getattr(together, name))
