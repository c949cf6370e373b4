"""feeds/exchanges/merge.py"""

from decimal import Decimal

from feeds.exchanges.contract import Quote
from feeds.exchanges.merge import NOTHING, merged
from trinity.clock import NS_PER_SECOND
from trinity.memory.price_table import Side, Via

SECOND = NS_PER_SECOND
MAX_AGE_NS = 30 * SECOND
BASE_NS = 1_000 * SECOND
BASE_WALL_NS = 1_790_000_000 * SECOND


def book(bid: str, ask: str) -> Quote:
    return Quote("A", Decimal(bid), Decimal(ask), None, 7, tells_last=False)


def trade(last: str) -> Quote:
    return Quote("A", None, None, Decimal(last), 8, tells_book=False)


def test_a_frame_renews_its_own_half_alone() -> None:
    """The other half keeps its times, and goes when it is too old."""
    first = merged(NOTHING, trade("100"), BASE_NS, BASE_WALL_NS, Via.WS, MAX_AGE_NS)
    then = merged(first, book("99", "101"), BASE_NS + SECOND, BASE_WALL_NS + SECOND, Via.WS, MAX_AGE_NS)
    assert then.last == Side(Decimal(100), 8, BASE_NS, BASE_WALL_NS)
    assert then.bid == Side(Decimal(99), 7, BASE_NS + SECOND, BASE_WALL_NS + SECOND)
    late_ns = BASE_NS + MAX_AGE_NS + 1
    assert merged(then, book("99", "101"), late_ns, BASE_WALL_NS, Via.WS, MAX_AGE_NS).last is None


def test_what_the_exchange_no_longer_has_is_gone_at_once() -> None:
    """An empty bid is its word, not silence."""
    before = merged(NOTHING, Quote("A", Decimal(1), Decimal(2), Decimal(1), 7), BASE_NS, 0, Via.WS, MAX_AGE_NS)
    after = merged(before, Quote("A", None, Decimal(2), None, 7), BASE_NS, 0, Via.REST, MAX_AGE_NS)
    assert (after.bid, after.last, after.via) == (None, None, Via.REST)
    assert after.ask is not None
