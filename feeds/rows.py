"""An exchange's rows: which symbol is which cell, and every quote's way into the table.

Rules: the only writer of this exchange's cells and states. A quote is written when its row's watch takes it as newer;
a row belongs to the youngest connection that delivered for it, so that an old one which is being replaced cannot
write over it. A frame that speaks of one half of a quote renews that half alone: the other keeps its own times, until
it is too old to count. Other exchanges are only read, once a check and only where their cells changed.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from feeds.freshness import ConnectionWatch, Evidence, RowWatch, Sighting
from feeds.tally import Tally
from feeds.venue import NOTHING, merged
from feeds.wire import Exchange, Quote
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.markets import Asset
from trinity.memory.price_table import PriceTable, RowState, StoredQuote, Via
from trinity.seat import Seat

BPS = 10_000
# "The others moved" is judged over 3 s and more: reading some 130 cells of 8 us at each check would be waste.
OTHERS_READ_NS = NS_PER_SECOND
# A row that waits for a quote is live with it; what else ends at the next check, which sees more than one quote.
_WAITING = (RowState.STARTING, RowState.QUIET)


class Row:
    """One asset on this exchange."""

    def __init__(self, symbol: str, asset_index: int, asset: Asset, started_ns: int) -> None:
        self.symbol = symbol
        self.asset_index = asset_index
        self.asset = asset.name
        self.max_age_ns = asset.rules.max_age_ms * NS_PER_MS
        self.watch = RowWatch(self.max_age_ns, asset.rules.outlier_floor_bps / BPS, started_ns)
        self.state = RowState.STARTING
        self.is_unknown = False
        self.wants_rest = False
        self.connection_serial = 0
        self.stored = NOTHING
        self.asked_at_ns = started_ns - self.max_age_ns


class Rows:
    """All rows of one exchange, by symbol."""

    def __init__(self, seat: Seat, name: str, exchange: Exchange, tally: Tally) -> None:
        self._seat = seat
        self._prices = seat.prices
        self._tally = tally
        self._exchange_index = seat.catalog.exchange_index(name)
        now_ns = seat.clock.monotonic_ns()
        self._by_symbol: dict[str, Row] = {}
        for market in seat.catalog.markets_of(name):
            index = seat.catalog.asset_index(market.asset)
            row = Row(exchange.symbol_of(market), index, seat.catalog.assets[index], now_ns)
            self._by_symbol[row.symbol] = row
        self._others = _OtherPrices(seat.prices, self._exchange_index, [row.asset_index for row in self])
        for row in self:
            self._write_state(row, RowState.STARTING)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._by_symbol.values())

    def get(self, symbol: str) -> Row | None:
        return self._by_symbol.get(symbol)

    def known_symbols(self) -> list[str]:
        """Symbols that the exchange has not called unknown."""
        return [row.symbol for row in self if not row.is_unknown]

    def take_ws(self, quote: Quote, at_ns: int, wall_ns: int, connection: ConnectionWatch) -> bool:
        """Write a quote that came over a WebSocket; False when it was not written."""
        row = self._row_of(quote)
        if row is None or connection.serial < row.connection_serial:
            return False
        row.connection_serial = connection.serial
        stored = merged(row.stored, quote, at_ns, wall_ns, Via.WS, row.max_age_ns)
        seen = Sighting(_price_of(stored), quote.exchange_time_ns, at_ns, wall_ns, Via.WS)
        is_written = False
        if row.watch.is_out_of_order(seen):
            self._tally.refusal("bad_sequence", f"{quote.symbol}: older than the quote before it")
        elif row.watch.is_newer(seen):
            is_written = self._write(row, stored, seen)
        connection.on_quote(seen, is_written)
        return is_written

    def take_rest(self, quote: Quote, at_ns: int, wall_ns: int, asked_at_ns: int) -> bool:
        """Write a quote that REST answered to a request of `asked_at_ns`; False when it was not written."""
        row = self._row_of(quote)
        if row is None:
            return False
        stored = merged(row.stored, quote, at_ns, wall_ns, Via.REST, row.max_age_ns)
        seen = Sighting(_price_of(stored), quote.exchange_time_ns, at_ns, wall_ns, Via.REST)
        if row.watch.is_bare_repeat(seen):
            row.watch.on_bare_repeat(seen)
            return False
        return row.watch.is_newer(seen, asked_at_ns) and self._write(row, stored, seen)

    def mark_unknown(self, symbol: str) -> bool:
        """Leave a symbol out; False when it is not one of ours or was left out before."""
        row = self._by_symbol.get(symbol)
        if row is None or row.is_unknown:
            return False
        row.is_unknown = True
        row.wants_rest = False
        self._write_state(row, RowState.UNKNOWN)
        self._show_unknown()
        return True

    def forget_unknown(self) -> None:
        """Ask for every symbol again."""
        for row in self:
            if row.is_unknown:
                row.is_unknown = False
                self._write_state(row, RowState.STARTING)
        self._show_unknown()

    def judge(self, now_ns: int, wall_ns: int, is_flowing: bool, is_behind: bool) -> Evidence:
        """Judge every row, publish the states that changed, and say what the rows tell of the connection."""
        self._others.refresh(now_ns)
        known = contradicted = agreed = frozen = dead = 0
        for row in self:
            if row.is_unknown:
                continue
            watch = row.watch
            others = self._others.fresh(row.asset_index, now_ns, row.max_age_ns)
            state = watch.judge(now_ns, wall_ns, is_flowing, others)
            if state is not row.state:
                self._write_state(row, state)
            row.wants_rest = (
                state in (RowState.FROZEN, RowState.STALE) or is_behind or watch.is_ws_silent(now_ns, is_flowing)
            )
            known += 1
            contradicted += watch.contradictions > 0
            agreed += watch.agreed
            frozen += state is RowState.FROZEN
            dead += watch.is_dead(now_ns)
        self._tally.gauge("oracle_frozen_sources", frozen)
        return Evidence(known, contradicted, agreed, frozen, dead)

    def _row_of(self, quote: Quote) -> Row | None:
        row = self._by_symbol.get(quote.symbol)
        if row is None or row.is_unknown:
            self._tally.refusal("unknown_symbol", quote.symbol)
            return None
        return row

    def _write(self, row: Row, stored: StoredQuote, seen: Sighting) -> bool:
        """Publish what the row has now; False when that is no price, and the row then gets no younger by it."""
        if not _has_price(stored) and row.stored[:3] == stored[:3]:
            return False
        try:
            self._prices.write(self._exchange_index, row.asset_index, stored)
        except ValueError as error:
            self._tally.refusal("bad_number", str(error))
            return False
        row.stored = stored
        if not _has_price(stored):
            return False
        row.watch.accept(seen)
        self._tally.quote(seen.via)
        if row.state in _WAITING:
            self._write_state(row, RowState.LIVE)
        return True

    def _write_state(self, row: Row, state: RowState) -> None:
        row.state = state
        self._prices.write_state(self._exchange_index, row.asset_index, state)

    def _show_unknown(self) -> None:
        self._tally.gauge("oracle_unknown_symbols", sum(row.is_unknown for row in self))


class _OtherPrices:
    """The other exchanges' newest prices of our assets."""

    def __init__(self, prices: PriceTable, own_index: int, asset_indexes: Sequence[int]) -> None:
        self._table = prices
        self._own_index = own_index
        self._assets = set(asset_indexes)
        self._versions: NDArray[np.uint64] = np.zeros((prices.exchanges, prices.assets), dtype=np.uint64)
        self._states: list[list[int]] = prices.states().tolist()
        self._newest: dict[tuple[int, int], tuple[float, int]] = {}
        self._due_ns = 0

    def refresh(self, now_ns: int) -> None:
        """Read what changed since the last time, once in OTHERS_READ_NS."""
        if now_ns < self._due_ns:
            return
        self._due_ns = now_ns + OTHERS_READ_NS
        versions = self._table.versions()
        for exchange, asset in np.argwhere(versions != self._versions).tolist():
            if exchange == self._own_index or asset not in self._assets:
                continue
            quote = self._table.read(exchange, asset)
            newest = quote.newest if quote is not None else None
            if quote is not None and newest is not None and _has_price(quote):
                self._newest[exchange, asset] = (_price_of(quote), newest.received_at_ns)
            elif quote is not None:
                self._newest.pop((exchange, asset), None)
        self._versions = versions
        self._states = self._table.states().tolist()

    def fresh(self, asset: int, now_ns: int, max_age_ns: int) -> list[float | None]:
        """Prices of the other exchanges in their order; None where there is none or it is not fresh."""
        prices: list[float | None] = []
        for exchange, states in enumerate(self._states):
            newest = self._newest.get((exchange, asset))
            is_fresh = newest is not None and now_ns - newest[1] <= max_age_ns and states[asset] != RowState.FROZEN
            prices.append(newest[0] if newest is not None and is_fresh else None)
        return prices


def _has_price(quote: StoredQuote) -> bool:
    return quote.last is not None or (quote.bid is not None and quote.ask is not None)


def _price_of(quote: StoredQuote) -> float:
    """The price that is compared over time and over exchanges: the mid of the book, else the last trade, else NaN."""
    if quote.bid is not None and quote.ask is not None:
        return (float(quote.bid.price) + float(quote.ask.price)) / 2
    return float(quote.last.price) if quote.last is not None else math.nan
