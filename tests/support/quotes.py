"""Quotes as the price table keeps them, for tests: all sides of one frame."""

from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from feeds.exchanges.contract import Quote
from feeds.exchanges.frequent import TICKER_DTYPE, set_ticker
from feeds.exchanges.merge import merge, middle_of
from trinity.memory.price_table import QUOTE_DTYPE, Side, StoredQuote, Via, unpack_quote


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


class HasQuote:
    """What a row has, as tickers come."""

    def __init__(self, max_age_ns: int) -> None:
        self._max_age_ns = max_age_ns
        self.record: NDArray[np.void] = np.zeros(1, dtype=QUOTE_DTYPE)

    def take(self, quote: Quote, at_ns: int, wall_ns: int, via: Via = Via.WS) -> None:
        """A ticker that was received then."""
        tickers = np.zeros(1, dtype=TICKER_DTYPE)
        set_ticker(tickers, quote)
        merge(self.record[0], tickers[0], at_ns, wall_ns, self._max_age_ns)
        self.record["via"] = via

    @property
    def middle(self) -> float:
        return middle_of(self.record[0])

    @property
    def stored(self) -> StoredQuote:
        """As the table gives it to a reader."""
        return unpack_quote(memoryview(self.record.tobytes()))
