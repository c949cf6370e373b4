"""feeds/exchanges/merge.py"""

import math
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from feeds.exchanges.contract import ExactPrice, Quote, parse_price
from feeds.exchanges.merge import NOTHING, RowQuote, merged, middle_of, recalled
from tests.support.quotes import stored_quote
from trinity.clock import NS_PER_SECOND
from trinity.memory.price_table import CellSide

SECOND = NS_PER_SECOND
MAX_AGE_NS = 30 * SECOND
BASE_NS = 1_000 * SECOND
BASE_WALL_NS = 1_790_000_000 * SECOND

prices = st.builds(ExactPrice, st.integers(1, 10**18 - 1), st.integers(0, 18))


def book(bid: str, ask: str) -> Quote:
    return Quote("A", parse_price(bid.encode()), parse_price(ask.encode()), None, 7, tells_last=False)


def trade(last: str) -> Quote:
    return Quote("A", None, None, parse_price(last.encode()), 8, tells_book=False)


def test_a_frame_renews_its_own_half_alone() -> None:
    """The other half keeps its times, and goes when it is too old."""
    first = merged(NOTHING, trade("100"), BASE_NS, BASE_WALL_NS, MAX_AGE_NS)
    then = merged(first, book("99.50", "101"), BASE_NS + SECOND, BASE_WALL_NS + SECOND, MAX_AGE_NS)
    assert then.last == CellSide(100, 0, 8, BASE_NS, BASE_WALL_NS)
    assert then.bid == CellSide(9950, 2, 7, BASE_NS + SECOND, BASE_WALL_NS + SECOND)
    assert merged(then, book("99", "101"), BASE_NS + MAX_AGE_NS, BASE_WALL_NS, MAX_AGE_NS).last is not None
    assert merged(then, book("99", "101"), BASE_NS + MAX_AGE_NS + 1, BASE_WALL_NS, MAX_AGE_NS).last is None
    assert merged(then, trade("100"), BASE_NS + MAX_AGE_NS + SECOND + 1, BASE_WALL_NS, MAX_AGE_NS).bid is None


def test_what_the_exchange_no_longer_has_is_gone_at_once() -> None:
    """An empty bid is its word, not silence."""
    one, two = parse_price(b"1"), parse_price(b"2")
    before = merged(NOTHING, Quote("A", one, two, one, 7), BASE_NS, 0, MAX_AGE_NS)
    after = merged(before, Quote("A", None, two, None, 7), BASE_NS, 0, MAX_AGE_NS)
    assert (after.bid, after.last) == (None, None)
    assert after.ask is not None
    assert before.has_price
    assert not after.has_price


@given(st.none() | prices, st.none() | prices, st.none() | prices)
def test_the_compared_price_is_the_mid_as_decimals_have_it(
    bid: ExactPrice | None, ask: ExactPrice | None, last: ExactPrice | None
) -> None:
    """To the last bit what floats of the exact prices give; without a book the last trade, without both NaN."""
    has = merged(NOTHING, Quote("A", bid, ask, last, 7), BASE_NS, 0, MAX_AGE_NS)
    if bid is not None and ask is not None:
        assert middle_of(has) == (float(bid.decimal) + float(ask.decimal)) / 2
    elif last is not None:
        assert middle_of(has) == float(last.decimal)
    else:
        assert math.isnan(middle_of(has))
    assert has.has_price is not math.isnan(middle_of(has))


def test_what_stands_in_the_table_is_recalled_with_its_digits() -> None:
    """A predecessor's quote, side by side, with its times."""
    stored = stored_quote(Decimal("1.50"), None, Decimal("2"), 7, BASE_NS, BASE_WALL_NS)
    times = (7, BASE_NS, BASE_WALL_NS)
    assert recalled(stored) == RowQuote(CellSide(150, 2, *times), None, CellSide(2, 0, *times))
