"""What an order book says of the last trade beside it. Pure, and one for those who decode and those who decide."""

from decimal import Decimal

_BPS = Decimal(10_000)


def is_off_book(bid: Decimal, ask: Decimal, last: Decimal, bound_bps: int) -> bool:
    """Is the last price further outside its own book than `bound_bps` of the nearer side?"""
    return last * _BPS < bid * (_BPS - bound_bps) or last * _BPS > ask * (_BPS + bound_bps)
