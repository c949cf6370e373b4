"""What is hot: on the exchanges' live sockets while somebody asks, decided here, and renewed before it ends.

Rules: an asset that is looked up often is marked in the asset table with the exchanges that quoted it; their feeds then
have it on their sockets and write its cells of the price table, each with the version of the cell that it is for. The
consensus of such an asset runs here, out of these cells and of what REST said, whichever is younger. A cell of the
price table counts only under that version: what a feed that was held up writes of a former asset is never taken. An
answer that no socket renews is asked for over REST before it ends. Who was not asked for in a minute is let go. One
decision takes a millisecond, so hundreds are made in slices, and misses are answered in between.
"""

from collections import deque
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from feeds.resolver.counters import ResolverCounters
from feeds.resolver.deciding import Offer
from feeds.resolver.flights import Flights
from feeds.resolver.heat import Heat
from feeds.resolver.rows import SpareRow, SpareRows
from trinity.clock import NS_PER_SECOND
from trinity.limits import HOT_ASSETS_MAX, HOT_REVIEW_SECONDS, REFRESH_AHEAD_NS, REFUSED_AHEAD_NS
from trinity.memory.asset_table import AssetCell, AssetTable
from trinity.memory.price_table import ROW_VERSION_MASK, PriceTable, StoredQuote

_LOOK_NS = int(HOT_REVIEW_SECONDS * NS_PER_SECOND)


class HotAssets:
    """Follows the heat; `turn` is called twice a second, `decide_next` in between."""

    def __init__(
        self, assets: AssetTable, prices: PriceTable, rows: SpareRows, flights: Flights, counters: ResolverCounters
    ) -> None:
        self._assets = assets
        self._prices = prices
        self._rows = rows
        self._flights = flights
        self._counters = counters
        self._heat = Heat()
        self._renewed_at_ns: dict[str, int] = {}
        self._seen: dict[str, NDArray[np.uint64]] = {}
        # What is on the sockets, when each was looked at last, the longest ago first.
        self._line: deque[tuple[str, int]] = deque()

    def turn(self, now_ns: int) -> None:
        """Mark what is hot, renew what ends, and let go of what is cold."""
        cells = self._assets.named()
        hot = self._heat.follow(cells, now_ns)
        followed = sorted((cell for cell in cells if cell.name in hot), key=lambda cell: -cell.asked_at_ns)
        on_sockets = {cell.name for cell in followed if cell.hot}
        for cell in followed:
            if not cell.hot and len(on_sockets) < HOT_ASSETS_MAX and self._mark(cell):
                on_sockets.add(cell.name)
        for cell in cells:
            if cell.name not in hot and cell.hot:
                self._assets.set_hot(cell.cell, 0)
        for cell in followed:
            held = self._rows.get(cell.name)
            if held is not None and held.cell == cell.cell:
                self._renew(cell.name, held, now_ns)
        self._rows.make_room(cells, now_ns)
        self._renewed_at_ns = {name: at_ns for name, at_ns in self._renewed_at_ns.items() if name in hot}
        self._seen = {name: seen for name, seen in self._seen.items() if name in on_sockets}
        waiting = {name for name, _ in self._line}
        self._line.extend((name, 0) for name in sorted(on_sockets - waiting))
        self._counters.rows(len(self._rows), len(hot), len(on_sockets))

    def _mark(self, cell: AssetCell) -> bool:
        """Give it to the feeds of the exchanges that quoted it; False where none has."""
        held = self._rows.get(cell.name)
        quoting = [one for one, offer in held.offers.items() if offer.quote is not None] if held is not None else []
        if not quoting:
            return False
        self._assets.set_hot(cell.cell, sum(1 << one for one in quoting))
        return True

    def decide_next(self, now_ns: int) -> bool:
        """Where a feed has written of the asset that was not looked at for the longest time: its consensus anew; False
        when all were looked at lately."""
        if not self._line or now_ns - self._line[0][1] < _LOOK_NS:
            return False
        name, _ = self._line.popleft()
        cell, held = self._assets.find(name), self._rows.get(name)
        if cell is not None and cell.hot and held is not None and held.cell == cell.cell:
            self._line.append((name, now_ns))
            self._decide(cell, held)
        return True

    def _decide(self, cell: AssetCell, held: SpareRow) -> None:
        versions = self._prices.spare_versions()[:, held.cell]
        seen = self._seen.get(cell.name)
        if seen is not None and np.array_equal(seen, versions):
            return
        self._seen[cell.name] = versions.copy()
        offers = self._with_sockets(cell, held)
        if offers != held.offers:
            self._flights.review(cell.name, offers)

    def _with_sockets(self, cell: AssetCell, held: SpareRow) -> Mapping[int, Offer]:
        asset, offers = self._rows.asset_of(held), dict(held.offers)
        for exchange, offer in offers.items():
            if self._prices.read_row_version(exchange, asset) != cell.version & ROW_VERSION_MASK:
                continue
            quote = self._prices.read(exchange, asset)
            if quote is not None and _is_younger(quote, offer.quote):
                offers[exchange] = Offer(offer.currency, quote, self._prices.read_state(exchange, asset))
        return offers

    def _renew(self, name: str, held: SpareRow, now_ns: int) -> None:
        """Twice, where the first does not succeed."""
        ahead_ns = REFRESH_AHEAD_NS if held.is_good else REFUSED_AHEAD_NS
        if held.valid_until_ns - now_ns > ahead_ns or self._flights.is_flying(name):
            return
        if now_ns - self._renewed_at_ns.get(name, now_ns - ahead_ns) >= ahead_ns // 2:
            self._renewed_at_ns[name] = now_ns
            self._flights.renew(name)


def _is_younger(quote: StoredQuote, than: StoredQuote | None) -> bool:
    ours, theirs = quote.newest, than.newest if than is not None else None
    return ours is not None and (theirs is None or ours.received_at_ns > theirs.received_at_ns)
