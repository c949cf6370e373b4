"""What an order book says of the last trade beside it. Pure, and one for those who decode and those who decide."""

from decimal import Decimal
from typing import TypeVar

_BPS = 10_000

Number = TypeVar("Number", int, Decimal)


def is_off_book(bid: Number, ask: Number, last: Number, bound_bps: int) -> bool:
    """Is the last price further outside its own book than `bound_bps` of the nearer side? Integers are of one scale."""
    return last * _BPS < bid * (_BPS - bound_bps) or last * _BPS > ask * (_BPS + bound_bps)
