"""Quotes as the price table keeps them, for tests: all sides of one frame."""

from decimal import Decimal

from trinity.memory.price_table import Side, StoredQuote, Via


def stored_quote(
    bid: Decimal | None,
    ask: Decimal | None,
    last: Decimal | None,
    exchange_time_ns: int | None,
    received_at_ns: int,
    received_wall_ns: int,
    via: Via = Via.WS,
) -> StoredQuote:
    """A quote whose sides came together."""
    times = (exchange_time_ns, received_at_ns, received_wall_ns)
    sides = [Side(price, *times) if price is not None else None for price in (bid, ask, last)]
    return StoredQuote(sides[0], sides[1], sides[2], via)
