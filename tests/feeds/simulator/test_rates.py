"""Request rate limits."""

from hypothesis import given, settings
from hypothesis import strategies as st

from feeds.simulator.market import NS_PER_SECOND
from feeds.simulator.rates import CALLERS_MAX, Buckets, Limit

LIMIT = Limit("rest", 10, 1.0)


def test_a_burst_is_allowed_up_to_the_amount() -> None:
    """Ten requests at once pass and say how many are left, the eleventh does not."""
    buckets = Buckets()
    assert [buckets.take("a", LIMIT, 0) for _ in range(11)] == [*range(9, -1, -1), None]


def test_tokens_come_back_evenly() -> None:
    """After a tenth of a second one more request passes, and not two."""
    buckets = Buckets()
    for _ in range(10):
        buckets.take("a", LIMIT, 0)
    assert buckets.take("a", LIMIT, NS_PER_SECOND // 10) == 0
    assert buckets.take("a", LIMIT, NS_PER_SECOND // 10) is None


def test_callers_and_limits_do_not_share_tokens() -> None:
    """One caller's flood takes nothing from another caller or from another limit."""
    buckets = Buckets()
    for _ in range(11):
        buckets.take("a", LIMIT, 0)
    assert buckets.take("b", LIMIT, 0) == 9
    assert buckets.take("a", Limit("other", 5, 1.0), 0) == 4


def test_the_number_of_remembered_callers_is_bounded() -> None:
    """A flood of addresses does not fill the memory."""
    buckets = Buckets()
    for caller in range(CALLERS_MAX * 2):
        buckets.take(caller, LIMIT, 0)
    assert len(buckets._tokens) <= CALLERS_MAX


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 300_000_000), max_size=120))
def test_no_caller_gets_more_than_its_limit(gaps_ns: list[int]) -> None:
    """In any pattern of requests, what passes is at most the burst plus the rate times the time."""
    buckets, now_ns, passed = Buckets(), 0, 0
    for gap_ns in gaps_ns:
        now_ns += gap_ns
        passed += buckets.take("a", LIMIT, now_ns) is not None
    assert passed <= LIMIT.amount + now_ns * LIMIT.amount / NS_PER_SECOND / LIMIT.seconds + 1
