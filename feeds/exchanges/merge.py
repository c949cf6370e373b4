"""How a row's stored quote goes on with the next quote of its exchange. Pure.

Rules: a frame that speaks of one half of a quote (the book, or the last trade) renews that half alone. The other half
keeps its own times and goes when it is too old to count, so that no old price passes as new beside a young one.
"""

from decimal import Decimal

from feeds.exchanges.contract import Quote
from trinity.memory.price_table import Side, StoredQuote, Via

NOTHING = StoredQuote(None, None, None, Via.NONE)


def merged(before: StoredQuote, quote: Quote, at_ns: int, wall_ns: int, via: Via, max_age_ns: int) -> StoredQuote:
    """What a row has with a quote that was received at `at_ns`: the half that it does not speak of stays as old as it
    is, and goes when it is older than `max_age_ns`."""

    def new(price: Decimal | None) -> Side | None:
        return Side(price, quote.exchange_time_ns, at_ns, wall_ns) if price is not None else None

    def kept(side: Side | None) -> Side | None:
        return side if side is not None and at_ns - side.received_at_ns <= max_age_ns else None

    bid, ask = (new(quote.bid), new(quote.ask)) if quote.tells_book else (kept(before.bid), kept(before.ask))
    return StoredQuote(bid, ask, new(quote.last) if quote.tells_last else kept(before.last), via)
