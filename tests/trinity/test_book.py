"""trinity/book.py"""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from trinity.book import is_off_book


@given(st.integers(1, 10**6), st.integers(0, 10**4), st.integers(1, 2 * 10**6), st.integers(0, 500))
def test_the_bound_is_a_share_of_the_nearer_side(bid: int, spread: int, last: int, bps: int) -> None:
    """What lies in the book is never outside of it; beyond it the distance decides."""
    ask = bid + spread
    beyond = max(Decimal(bid - last) / bid, Decimal(last - ask) / ask)
    is_off = is_off_book(Decimal(bid), Decimal(ask), Decimal(last), bps)
    if bid <= last <= ask:
        assert not is_off
    if abs(beyond * 10_000 - bps) > Decimal("0.001"):
        assert is_off == (beyond * 10_000 > bps)
