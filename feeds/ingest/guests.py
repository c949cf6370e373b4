"""Rows of assets beyond the catalog that are hot: on this exchange's live sockets for as long as the resolver says so.

Rules: the asset table says which (a bit for each exchange); it is looked at once a second. A guest has a row as every
asset has, but disturbs no other: it is subscribed and given up in frames of its own, asks for no REST (the resolver
does), and says nothing of the connection. Its cell of the price table is emptied before it is taken, and stands under
the version of the asset table's cell that it is for: whoever reads it knows whose quotes they are. A row that is given
up is written no more, whatever the exchange still sends of it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feeds.exchanges.contract import Exchange
from feeds.ingest.rows import Rows
from trinity.clock import NS_PER_SECOND
from trinity.markets import Asset, Catalog, Market
from trinity.memory.asset_table import AssetTable

_LOOK_NS = NS_PER_SECOND
_NO_CELLS: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)


class SubscriptionChanges(NamedTuple):
    """Symbols to be subscribed, and symbols to be given up."""

    added: list[str]
    removed: list[str]


class Guests:
    """The guests of one exchange's rows."""

    def __init__(self, rows: Rows, assets: AssetTable, catalog: Catalog, name: str, exchange: Exchange) -> None:
        self._rows = rows
        self._assets = assets
        self._exchange = exchange
        self._name = name
        self._bit = 1 << catalog.exchange_index(name)
        self._first = len(catalog.assets)
        self._rules = catalog.defaults
        self._quote = next((market.quote for market in catalog.markets_of(name)), None)
        self._taken: dict[tuple[int, int], str] = {}
        self._seen: tuple[NDArray[np.uint64], NDArray[np.uint64]] = _NO_CELLS, _NO_CELLS
        self._due_ns = 0

    def follow(self, now_ns: int) -> SubscriptionChanges:
        """What changed in the asset table since the last look."""
        if now_ns < self._due_ns or self._quote is None:
            return SubscriptionChanges([], [])
        self._due_ns = now_ns + _LOOK_NS
        seen = self._assets.hot(), self._assets.versions()
        if all(np.array_equal(new, old) for new, old in zip(seen, self._seen, strict=True)):
            return SubscriptionChanges([], [])
        self._seen = seen
        wanted = {(cell.cell, cell.version): cell.name for cell in self._assets.named() if cell.hot & self._bit}
        removed = [symbol for place, symbol in self._taken.items() if place not in wanted]
        for place in [place for place in self._taken if place not in wanted]:
            self._rows.remove(self._taken.pop(place))
        added = []
        for (cell, version), name in wanted.items():
            symbol = self._exchange.symbol_of(Market(self._name, name, self._quote))
            if (cell, version) not in self._taken and self._rows.add(
                symbol, self._first + cell, Asset(name, self._rules), version, now_ns
            ):
                self._taken[cell, version] = symbol
                added.append(symbol)
        return SubscriptionChanges(added, removed)
