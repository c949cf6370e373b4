"""How a row's quote goes on with the next quote of its exchange. Pure.

Rules: a frame that speaks of one half of a quote (the book, or the last trade) renews that half alone. The other half
keeps its own times and goes when it is too old to count, so that no old price passes as new beside a young one.
"""

import math

import msgspec

from feeds.exchanges.contract import POWERS_OF_TEN, ExactPrice, Quote
from trinity.memory.price_table import CellSide, StoredQuote, cell_side


class RowQuote(msgspec.Struct, frozen=True, gc=False):
    """What a row has: each side with the times of the frame that it came in."""

    bid: CellSide | None = None
    ask: CellSide | None = None
    last: CellSide | None = None

    @property
    def has_price(self) -> bool:
        return self.last is not None or (self.bid is not None and self.ask is not None)


NOTHING = RowQuote()


def merged(before: RowQuote, quote: Quote, at_ns: int, wall_ns: int, max_age_ns: int) -> RowQuote:
    """What a row has with a quote that was received at `at_ns`: the half that it does not speak of stays as old as it
    is, and goes when it is older than `max_age_ns`."""
    time_ns = quote.exchange_time_ns
    if quote.tells_book:
        bid, ask = _new(quote.bid, time_ns, at_ns, wall_ns), _new(quote.ask, time_ns, at_ns, wall_ns)
    else:
        bid, ask = _kept(before.bid, at_ns - max_age_ns), _kept(before.ask, at_ns - max_age_ns)
    if quote.tells_last:
        return RowQuote(bid, ask, _new(quote.last, time_ns, at_ns, wall_ns))
    return RowQuote(bid, ask, _kept(before.last, at_ns - max_age_ns))


def _new(price: ExactPrice | None, time_ns: int | None, at_ns: int, wall_ns: int) -> CellSide | None:
    return CellSide(price.mantissa, price.scale, time_ns, at_ns, wall_ns) if price is not None else None


def _kept(side: CellSide | None, oldest_ns: int) -> CellSide | None:
    return side if side is not None and side.received_at_ns >= oldest_ns else None


def recalled(stored: StoredQuote) -> RowQuote:
    """What a row has that stands in the table."""
    return RowQuote(*(cell_side(side) for side in stored[:3]))


def middle_of(quote: RowQuote) -> float:
    """The price that is compared over time and over exchanges: the mid of the book, else the last trade, else NaN."""
    bid, ask, last = quote.bid, quote.ask, quote.last
    if bid is not None and ask is not None:
        return (bid.mantissa / POWERS_OF_TEN[bid.scale] + ask.mantissa / POWERS_OF_TEN[ask.scale]) / 2
    return last.mantissa / POWERS_OF_TEN[last.scale] if last is not None else math.nan
