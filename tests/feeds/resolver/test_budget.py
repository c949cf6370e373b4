"""feeds/resolver/budget.py"""

from hypothesis import given
from hypothesis import strategies as st

from feeds.resolver.budget import Budget

SECOND = 10**9


def test_a_burst_and_then_its_rate() -> None:
    budget = Budget(50.0, 100, 0)
    assert [budget.take(0) for _ in range(101)] == [True] * 100 + [False]
    assert not budget.take(SECOND // 50 - 1)
    assert budget.take(SECOND // 50)


@given(st.lists(st.integers(0, SECOND), min_size=1, max_size=400))
def test_no_window_ever_has_more_than_the_burst_and_the_rate(gaps: list[int]) -> None:
    budget, now_ns, taken = Budget(50.0, 100, 0), 0, list[int]()
    for gap_ns in gaps:
        now_ns += gap_ns
        if budget.take(now_ns):
            taken.append(now_ns)
    for i, start_ns in enumerate(taken):
        for j in range(i, len(taken)):
            assert j - i + 1 <= 100 + (taken[j] - start_ns) * 50 / SECOND + 1
