"""How a row's quote goes on with the next ticker of its exchange: records, compiled.

Rules: pure. A frame that speaks of one half of a quote (the book, or the last trade) renews that half alone. The other
half keeps its own times and goes when it is too old to count, so that no old price passes as new beside a young one.
"""

import math

import numpy as np
from numpy.typing import NDArray

from feeds.exchanges.contract import POWERS_OF_TEN
from trinity.compiled import compiled

_BID, _ASK, _LAST = range(3)
_TENS = np.array(POWERS_OF_TEN, dtype=np.float64)


@compiled
def merge(quote: np.void, ticker: np.void, at_ns: int, wall_ns: int, max_age_ns: int) -> None:
    """Make of what a row has what it has with a ticker that was received at `at_ns`; a quote is the price table's."""
    for side in range(3):
        tells = ticker["tells_last"] if side == _LAST else ticker["tells_book"]
        if tells == 0 and quote["is_there"][side] != 0 and quote["received_at_ns"][side] >= at_ns - max_age_ns:
            continue
        is_there = tells != 0 and ticker["is_there"][side] != 0
        time_ns = ticker["time_ns"] if is_there else 0
        quote["mantissa"][side] = ticker["mantissa"][side] if is_there else 0
        quote["scale"][side] = ticker["scale"][side] if is_there else 0
        quote["exchange_time_ns"][side] = time_ns
        quote["received_at_ns"][side] = at_ns if is_there else 0
        quote["received_wall_ns"][side] = wall_ns if is_there else 0
        quote["is_there"][side] = is_there
        quote["has_exchange_time"][side] = time_ns != 0


@compiled
def has_price(quote: np.void) -> bool:
    """A last price, or a whole book."""
    there = quote["is_there"]
    return bool(there[_LAST] != 0 or (there[_BID] != 0 and there[_ASK] != 0))


@compiled
def middle_of(quote: np.void) -> float:
    """The price that is compared over time and over exchanges: the mid of the book, else the last trade, else NaN."""
    first, last = (_BID, _ASK) if quote["is_there"][_BID] != 0 and quote["is_there"][_ASK] != 0 else (_LAST, _LAST)
    if quote["is_there"][first] == 0:
        return math.nan
    total = 0.0
    for side in (first, last):
        total += float(quote["mantissa"][side]) / _TENS[quote["scale"][side]]
    return total / 2


@compiled
def look_at(quotes: NDArray[np.void]) -> tuple[float, int]:
    """The first quote's compared price, and when its newest side was received."""
    quote, received_at_ns = quotes[0], 0
    for side in range(3):
        if quote["is_there"][side] != 0:
            received_at_ns = max(received_at_ns, quote["received_at_ns"][side])
    return middle_of(quote), received_at_ns
