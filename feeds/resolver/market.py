"""What the rest of the market says: how many exchanges are live, and what the coins are worth; from the node's tables.

Rules: only reads, by the functions of the consensus (as `trinity explain` does). The whole market is looked at once a
second, the coins' rows four times: a miss costs a few microseconds of it.
"""

from collections.abc import Mapping
from decimal import Decimal

from feeds.consensus.decimals.independence import faulty_of
from feeds.consensus.decimals.inputs import gather, listings_of, recall_coins
from feeds.consensus.decimals.stablecoins import follow, usable
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.markets import Catalog
from trinity.memory.answer_table import COINS, AnswerTable
from trinity.memory.price_table import PriceTable

_LIVE_NS = NS_PER_SECOND
_COINS_NS = 250 * NS_PER_MS


class MarketView:
    """The catalog's rows as seen by who decides an asset beyond it."""

    def __init__(self, prices: PriceTable, answers: AnswerTable, catalog: Catalog) -> None:
        self._prices = prices
        self._answers = answers
        self._catalog = catalog
        self._rows = [
            (catalog.exchange_index(market.exchange), asset, catalog.assets[asset].rules.max_age_ms * NS_PER_MS)
            for market in catalog.markets
            for asset in [catalog.asset_index(market.asset)]
        ]
        self._live: frozenset[int] = frozenset()
        self._live_at_ns: int | None = None
        self._indexes: Mapping[str, Decimal] = {}
        self._indexes_at_ns: int | None = None

    def live(self, now_ns: int) -> frozenset[int]:
        """The exchanges that were heard lately in any market of the catalog (see inputs.live_exchanges)."""
        if self._live_at_ns is None or now_ns - self._live_at_ns >= _LIVE_NS:
            self._live_at_ns = now_ns
            self._live = self._heard(now_ns)
        return self._live

    def indexes(self, now_ns: int) -> Mapping[str, Decimal]:
        """USD per coin, of those that have an index now."""
        if self._indexes_at_ns is None or now_ns - self._indexes_at_ns >= _COINS_NS:
            self._indexes_at_ns = now_ns
            names = [asset.name for asset in self._catalog.assets]
            usdt, usdc = (
                [
                    gather(
                        self._prices, names.index(coin), listing, self._catalog.assets[names.index(coin)].rules
                    ).source
                    for listing in listings_of(self._catalog, names.index(coin))
                ]
                if coin in names
                else []
                for coin in COINS
            )
            faulty = faulty_of(len(self.live(now_ns)))
            indexes, _ = follow(usdt, usdc, faulty, recall_coins(self._answers), now_ns)
            self._indexes = usable(indexes)
        return self._indexes

    def _heard(self, now_ns: int) -> frozenset[int]:
        live: set[int] = set()
        for exchange, asset, max_age_ns in self._rows:
            if exchange in live:
                continue
            quote = self._prices.read(exchange, asset)
            newest = quote.newest if quote is not None else None
            if newest is not None and now_ns - newest.received_at_ns <= max_age_ns:
                live.add(exchange)
        return frozenset(live)
