"""feeds/ingest/turns.py"""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from feeds.ingest.turns import RestTurns
from tests.support.contexts import open_context
from trinity.markets import load_catalog

CATALOG = load_catalog()
GAP_NS = 200_000_000


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(0, 2 * GAP_NS)), max_size=30))
def test_a_gap_lies_between_any_two_turns_whoever_takes_them(steps: list[tuple[bool, int]]) -> None:
    """A feed and the resolver, each with an object of its own over the same table."""
    with open_context("feed", "feed", CATALOG) as context:
        both = [RestTurns(context.prices, 2, 0.2) for _ in range(2)]
        other = RestTurns(context.prices, 3, 0.2)
        now_ns, taken = 10**15, list[int]()
        for which, step_ns in steps:
            now_ns += step_ns
            wait_ns = both[which].wait_ns(now_ns)
            assert both[which].take(now_ns) == wait_ns
            taken.append(now_ns + wait_ns)
        assert all(later - earlier >= GAP_NS for earlier, later in itertools.pairwise(taken))
        assert other.wait_ns(now_ns) == 0


def test_a_moment_that_no_gap_explains_holds_nobody() -> None:
    """What another boot of the machine left."""
    with open_context("feed", "feed", CATALOG) as context:
        turns = RestTurns(context.prices, 0, 0.2)
        turns.take(10**18)
        assert turns.wait_ns(10**15) == 0
