"""feeds/exchanges/merge.py"""

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feeds.exchanges.contract import ExactPrice, Quote, parse_price
from feeds.exchanges.merge import has_price, look_at
from tests.support.quotes import HasQuote
from trinity.clock import NS_PER_SECOND
from trinity.memory.price_table import Side

pytestmark = pytest.mark.uncompiled
SECOND = NS_PER_SECOND
MAX_AGE_NS = 30 * SECOND
BASE_NS = 1_000 * SECOND
BASE_WALL_NS = 1_790_000_000 * SECOND

prices = st.builds(ExactPrice, st.integers(1, 10**18 - 1), st.integers(0, 18))


def book(bid: str, ask: str) -> Quote:
    return Quote("A", parse_price(bid.encode()), parse_price(ask.encode()), None, 7, tells_last=False)


def trade(last: str) -> Quote:
    return Quote("A", None, None, parse_price(last.encode()), 8, tells_book=False)


@pytest.fixture
def has() -> HasQuote:
    return HasQuote(MAX_AGE_NS)


def test_a_frame_renews_its_own_half_alone(has: HasQuote) -> None:
    """The other half keeps its times."""
    has.take(trade("100"), BASE_NS, BASE_WALL_NS)
    has.take(book("99.50", "101"), BASE_NS + SECOND, BASE_WALL_NS + SECOND)
    assert has.stored.last == Side(Decimal(100), 8, BASE_NS, BASE_WALL_NS)
    assert has.stored.bid == Side(Decimal("99.50"), 7, BASE_NS + SECOND, BASE_WALL_NS + SECOND)
    assert str(has.stored.bid.price) == "99.50"


def test_the_other_half_goes_when_it_is_too_old(has: HasQuote) -> None:
    """At the age limit it still counts, behind it no more."""
    has.take(trade("100"), BASE_NS, BASE_WALL_NS)
    has.take(book("99", "101"), BASE_NS + MAX_AGE_NS, BASE_WALL_NS)
    assert has.stored.last is not None
    has.take(book("99", "101"), BASE_NS + MAX_AGE_NS + 1, BASE_WALL_NS)
    assert has.stored.last is None
    has.take(trade("100"), BASE_NS + 2 * MAX_AGE_NS + 2, BASE_WALL_NS)
    assert has.stored.bid is has.stored.ask is None


def test_what_the_exchange_no_longer_has_is_gone_at_once(has: HasQuote) -> None:
    """An empty bid is its word, not silence."""
    one, two = parse_price(b"1"), parse_price(b"2")
    has.take(Quote("A", one, two, one, 7), BASE_NS, 0)
    assert has_price(has.record[0])
    has.take(Quote("A", None, two, None, 7), BASE_NS, 0)
    assert (has.stored.bid, has.stored.last) == (None, None)
    assert has.stored.ask is not None
    assert not has_price(has.record[0])


@given(st.none() | prices, st.none() | prices, st.none() | prices)
def test_the_compared_price_is_the_mid_as_decimals_have_it(
    bid: ExactPrice | None, ask: ExactPrice | None, last: ExactPrice | None
) -> None:
    """To the last bit where a mantissa fits a double, else to the last but one; without a book the last trade, without
    both NaN."""
    has = HasQuote(MAX_AGE_NS)
    has.take(Quote("A", bid, ask, last, 7), BASE_NS, 0)
    if bid is not None and ask is not None:
        expected = (float(bid.decimal) + float(ask.decimal)) / 2
    else:
        expected = float(last.decimal) if last is not None else math.nan
    fits = all(price is None or price.mantissa <= 2**53 for price in (bid, ask, last))
    assert (
        has.middle == expected
        or math.isclose(has.middle, expected, rel_tol=0 if fits else 2**-51)
        or (math.isnan(has.middle) and math.isnan(expected))
    )
    assert bool(has_price(has.record[0])) is not math.isnan(has.middle)


def test_a_look_tells_when_the_newest_side_was_received(has: HasQuote) -> None:
    """Of the sides that are there; nothing at all has no price and no time."""
    assert math.isnan(look_at(has.record)[0])
    assert look_at(has.record)[1] == 0
    has.take(book("99", "101"), BASE_NS, BASE_WALL_NS)
    has.take(trade("100"), BASE_NS + SECOND, BASE_WALL_NS)
    assert look_at(has.record) == (100.0, BASE_NS + SECOND)
