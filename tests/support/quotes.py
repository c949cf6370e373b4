"""Quotes as the price table keeps them, for tests: all sides of one frame."""

from decimal import Decimal

from feeds.exchanges.merge import RowQuote
from trinity.memory.price_table import CellSide, Side, StoredQuote, Via


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


def stored_of(has: RowQuote, via: Via = Via.WS) -> StoredQuote:
    """What a row has, as the table gives it to a reader."""
    bid, ask, last = (_side_of(side) for side in (has.bid, has.ask, has.last))
    return StoredQuote(bid, ask, last, via)


def _side_of(side: CellSide | None) -> Side | None:
    if side is None:
        return None
    price = Decimal(side.mantissa).scaleb(-side.scale)
    return Side(price, side.exchange_time_ns, side.received_at_ns, side.received_wall_ns)
