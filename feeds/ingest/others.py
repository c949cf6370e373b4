"""The other exchanges' prices of our assets, for who must tell a market that moved from one that stands still.

Rules: only reads, once a second and only what changed; each price is in the currency that our own exchange quotes.
"""

import math

import numpy as np
from numpy.typing import NDArray

from feeds.exchanges.merge import look_at
from trinity.clock import NS_PER_SECOND
from trinity.markets import Catalog
from trinity.memory.answer_table import COINS, AnswerTable
from trinity.memory.price_table import QUOTE_DTYPE, PriceTable, RowState

USD = "USD"
# "The others moved" is judged over 3 s and more: reading some 130 cells of 8 us at each check would be waste.
OTHERS_READ_NS = NS_PER_SECOND


class OtherPrices:
    """The other exchanges' newest prices of our assets, each in the currency that our own exchange quotes it in.

    Otherwise a coin that moves against the dollar would look like a market that moved, in all rows of the other kind.
    """

    def __init__(self, prices: PriceTable, answers: AnswerTable, catalog: Catalog, own_index: int) -> None:
        self._table = prices
        self._answers = answers
        self._own_index = own_index
        self._currencies = {
            (catalog.exchange_index(market.exchange), catalog.asset_index(market.asset)): market.quote
            for market in catalog.markets
        }
        self._assets = {asset for exchange, asset in self._currencies if exchange == own_index}
        self._usd_of: dict[str, float] = {}
        self._versions: NDArray[np.uint64] = np.zeros((prices.exchanges, prices.assets), dtype=np.uint64)
        self._states: list[list[int]] = prices.states().tolist()
        self._newest: dict[tuple[int, int], tuple[float, int]] = {}
        self._quote = np.zeros(1, dtype=QUOTE_DTYPE)
        self._words = self._quote.view(np.uint64)
        self._due_ns = 0

    def refresh(self, now_ns: int) -> None:
        """Read what changed since the last time, once in OTHERS_READ_NS."""
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + OTHERS_READ_NS
        self._usd_of = {coin: self._answers.read_index(i) for i, coin in enumerate(COINS)} | {USD: 1.0}
        versions = self._table.versions()
        for exchange, asset in np.argwhere(versions != self._versions).tolist():
            if exchange == self._own_index or asset not in self._assets:
                continue
            # Where the writer was too quick for the reader's bounded tries: look again the next time.
            if not self._table.copy(exchange, asset, self._words):
                versions[exchange, asset] = self._versions[exchange, asset]
                continue
            middle, received_at_ns = look_at(self._quote)
            if not math.isnan(middle):
                self._newest[exchange, asset] = (middle, received_at_ns)
            else:
                self._newest.pop((exchange, asset), None)
        self._versions = versions
        self._states = self._table.states().tolist()

    def fresh(self, asset: int, now_ns: int, max_age_ns: int) -> list[float | None]:
        """Prices of the other exchanges in their order; None where there is none, it is not fresh, or nothing says
        what it is in our currency."""
        prices: list[float | None] = []
        for exchange, states in enumerate(self._states):
            newest = self._newest.get((exchange, asset))
            is_fresh = newest is not None and now_ns - newest[1] <= max_age_ns and states[asset] != RowState.FROZEN
            prices.append(self._in_own_terms(exchange, asset, newest[0]) if newest is not None and is_fresh else None)
        return prices

    def _in_own_terms(self, exchange: int, asset: int, price: float) -> float | None:
        theirs, ours = self._currencies.get((exchange, asset), USD), self._currencies[self._own_index, asset]
        if theirs == ours:
            return price
        usd, our_usd = self._usd_of.get(theirs, 0.0), self._usd_of.get(ours, 0.0)
        return price * usd / our_usd if usd and our_usd else None
