"""An exchange's rows: which symbol is which cell, and every quote's way into the table.

Rules: the only writer of this exchange's cells and states. A quote is written when its row's watch takes it as newer;
a row belongs to the youngest connection that delivered for it, so that an old one which is being replaced cannot
write over it; when that one ends or falls silent the row is free again. A frame that speaks of one half of a quote
renews that half alone: the other keeps its own times, until it is too old to count. A row that the exchange does not
know is left out over that way, with its reason in the table, and asked for again after minutes, then hours. Other
exchanges are only read, once per check and only where their cells changed.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from random import Random

import numpy as np

from feeds.exchanges.contract import Exchange, Quote
from feeds.exchanges.frequent import set_ticker
from feeds.ingest.arrivals import LINE_DTYPE
from feeds.ingest.counters import FeedCounters
from feeds.ingest.freshness import ConnectionWatch, Evidence, RowWatch
from feeds.ingest.intake import LATE, WRITTEN, make_intake, place_row, recall, take_quote
from feeds.ingest.others import OtherPrices
from feeds.ingest.turns import RestTurns
from trinity.backoff import Backoff
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.limits import ASK_AGAIN_CAP_SECONDS, ASK_AGAIN_SECONDS, FEED_ROWS_MAX
from trinity.markets import Asset
from trinity.memory.price_table import NOT_LEFT_OUT, Absence, LeftOut, RowState, Via
from trinity.process import FeedMemory, ProcessContext

BPS = 10_000
# Guests that were given up and that an exchange may still send quotes of: all that there can be at once.
_LET_GO_MAX = FEED_ROWS_MAX
# A row that waits for a quote is live with it; what else ends at the next check, which sees more than one quote.
_WAITING = (RowState.STARTING, RowState.QUIET)
# Looked up once: in Python 3.11 an enum's member takes 0.4 us; as an argument of compiled code 35.
_WS, _REST = int(Via.WS), int(Via.REST)
_PRESENT, _UNKNOWN_SYMBOL = Absence.NONE, Absence.UNKNOWN_SYMBOL


class FeedRow:
    """One asset on this exchange; `record` is what compiled code knows of it (arrivals.py)."""

    def __init__(
        self,
        record: np.void,
        number: int,
        symbol: str,
        asset_index: int,
        asset: Asset,
        listings: int,
        started_ns: int,
        random: Random,
    ) -> None:
        self._record = record
        self.number = number
        self.symbol = symbol
        self.asset_index = asset_index
        self.asset = asset.name
        self.max_age_ns = asset.rules.max_age_ms * NS_PER_MS
        self.watch = RowWatch(record, self.max_age_ns, asset.rules.outlier_floor_bps / BPS, started_ns, listings)
        self.state = RowState.STARTING
        self.wants_rest = False
        self.asked_at_ns = started_ns - self.max_age_ns
        self.left_out = NOT_LEFT_OUT
        self.ws_again = _again(random)
        self.rest_again = _again(random)
        self.row_version = 0  # of a guest (guests.py): the version of the asset table's cell that it is for

    @property
    def is_guest(self) -> bool:
        """Of an asset beyond the catalog: it has no say about the connection, and asks for no REST."""
        return self.row_version != 0

    @property
    def connection_serial(self) -> int:
        """The connection that it belongs to; 0: whoever delivers next."""
        return int(self._record["serial"])

    def release(self) -> None:
        self._record["serial"] = 0

    def stand(self, state: RowState, left_out: LeftOut) -> None:
        """How it stands now; compiled code takes no quote of one that is left out, or was until it delivered."""
        self.state, self.left_out = state, left_out
        self._record["state"] = state
        self._record["is_left_out"] = left_out.ws is not _PRESENT or self.ws_again.failures > 0

    @property
    def is_unknown(self) -> bool:
        """Nothing is to be expected of it: it is neither asked for nor judged."""
        ws, rest = self.left_out
        return ws is _UNKNOWN_SYMBOL or (ws is not _PRESENT and rest is not _PRESENT)

    def is_on_rest(self, now_ns: int) -> bool:
        return self.left_out.rest is _PRESENT or self.rest_again.is_due(now_ns)


def _again(random: Random) -> Backoff:
    return Backoff(random, ASK_AGAIN_SECONDS, ASK_AGAIN_SECONDS, ASK_AGAIN_CAP_SECONDS, reset_seconds=0)


class Rows:
    """All rows of one exchange, by symbol."""

    def __init__(
        self,
        context: ProcessContext,
        memory: FeedMemory,
        name: str,
        exchange: Exchange,
        counters: FeedCounters,
        random: Random | None = None,
    ) -> None:
        self._context = context
        self._prices = memory.prices
        self._counters = counters
        self._exchange_index = context.catalog.exchange_index(name)
        self.rest_turns = RestTurns(memory.prices, self._exchange_index, exchange.PROFILE.rest_gap_seconds)
        now_ns = context.clock.monotonic_ns()
        listings = Counter(market.asset for market in context.catalog.markets)
        markets = context.catalog.markets_of(name)
        symbols = [exchange.symbol_of(market) for market in markets]
        assets = [context.catalog.asset_index(market.asset) for market in markets]
        self.intake = make_intake(memory.prices, self._exchange_index, exchange.FREQUENT, symbols, assets)
        self._tickers = self.intake.feed["ticker"]
        self._no_line = np.zeros(1, dtype=LINE_DTYPE)
        records = self.intake.feed["rows"][0]
        self._by_symbol: dict[str, FeedRow] = {}
        for number, (symbol, index) in enumerate(zip(symbols, assets, strict=True)):
            asset = context.catalog.assets[index]
            row = FeedRow(
                records[number], number, symbol, index, asset, listings[asset.name], now_ns, random or Random()
            )
            self._by_symbol[symbol] = row
        self._texts: list[str | None] = list(symbols)
        self._random = random or Random()
        self._let_go: deque[str] = deque(maxlen=_LET_GO_MAX)
        self._others = OtherPrices(memory.prices, memory.answers, context.catalog, self._exchange_index)
        for row in self:
            recall(self.intake, self._prices, row.number)
            self._write_state(row, RowState.STARTING)

    def __iter__(self) -> Iterator[FeedRow]:
        return iter(self._by_symbol.values())

    def add(self, symbol: str, asset_index: int, asset: Asset, row_version: int, now_ns: int) -> bool:
        """Take a guest in, with an empty cell; False where the symbol is there already or there is no room."""
        number = self._texts.index(None) if None in self._texts else len(self._texts)
        if symbol in self._by_symbol or number >= FEED_ROWS_MAX:
            return False
        self._texts[number : number + 1] = [symbol]
        self.intake = place_row(self.intake, self._texts, number, asset_index)
        record = self.intake.feed["rows"][0][number]
        row = FeedRow(record, number, symbol, asset_index, asset, 1, now_ns, self._random)
        row.row_version = row_version
        self._by_symbol[symbol] = row
        self._write_state(row, RowState.STARTING)
        return True

    def remove(self, symbol: str) -> None:
        """Give a guest up: nothing of it is written any more."""
        row = self._by_symbol.pop(symbol)
        self._texts[row.number] = None
        self.intake = place_row(self.intake, self._texts, row.number, row.asset_index)
        self._prices.write_state(self._exchange_index, row.asset_index, RowState.UNKNOWN)
        self._let_go.append(symbol)

    def get(self, symbol: str) -> FeedRow | None:
        return self._by_symbol.get(symbol)

    def known_symbols(self, *, guests: bool = False) -> list[str]:
        """Symbols that the exchange has not called unknown over the WebSocket: the catalog's, or the guests'."""
        return [row.symbol for row in self if row.left_out.ws is not _UNKNOWN_SYMBOL and row.is_guest is guests]

    def take_ws(self, quote: Quote, at_ns: int, wall_ns: int, connection: ConnectionWatch) -> bool:
        """Write a quote that came over a WebSocket; False when it was not written."""
        row = self._row_of(quote)
        if row is None or connection.serial < row.connection_serial:
            return False
        set_ticker(self._tickers, quote)
        result = take_quote(*self.intake, connection.line, row.number, _WS, at_ns, wall_ns, 0)
        if result == LATE:
            self._counters.refusal("bad_sequence", f"{quote.symbol}: older than the quote before it")
        if row.ws_again.failures:
            self._found(row, row.left_out._replace(ws=_PRESENT), row.ws_again)
        return self._took(row, result, Via.WS)

    def take_rest(self, quote: Quote, at_ns: int, wall_ns: int, asked_at_ns: int) -> bool:
        """Write a quote that REST answered to a request of `asked_at_ns`; False when it was not written."""
        row = self._row_of(quote)
        if row is None:
            return False
        if row.rest_again.failures:
            self._found(row, row.left_out._replace(rest=_PRESENT), row.rest_again)
        set_ticker(self._tickers, quote)
        result = take_quote(*self.intake, self._no_line, row.number, _REST, at_ns, wall_ns, asked_at_ns)
        return self._took(row, result, Via.REST)

    def mark_unknown(self, symbol: str) -> bool:
        """The exchange does not know a symbol; False when it is not one of ours or was left out before."""
        row = self._by_symbol.get(symbol)
        if row is None or row.left_out.ws is _UNKNOWN_SYMBOL:
            return False
        self._leave_out(row, row.left_out._replace(ws=_UNKNOWN_SYMBOL), row.ws_again)
        return True

    def mark_unacknowledged(self, symbols: Iterable[str], serial: int) -> None:
        """A connection was asked for these and the exchange passed them over; REST goes on with them."""
        for symbol in symbols:
            row = self._by_symbol.get(symbol)
            if row is None:
                continue
            if row.connection_serial != serial and row.left_out.ws is _PRESENT:
                self._leave_out(row, row.left_out._replace(ws=Absence.NOT_ACKNOWLEDGED), row.ws_again)

    def mark_not_on_rest(self, symbol: str) -> bool:
        """REST does not know a symbol; False when that leaves none: an outage, so that all are asked for again."""
        row = self._by_symbol.get(symbol)
        if row is None:
            return False
        self._leave_out(row, row.left_out._replace(rest=_UNKNOWN_SYMBOL), row.rest_again)
        if any(other.left_out.rest is _PRESENT for other in self):
            return True
        for other in self:
            self._write_state(other, other.state, other.left_out._replace(rest=_PRESENT))
        return False

    def forget_unknown(self) -> None:
        """Ask for every symbol again."""
        for row in self:
            if row.left_out.ws is not _PRESENT:
                self._ask_again(row)
        self._show_unknown()

    def take_due(self, now_ns: int) -> list[str]:
        """Symbols that were left out of the WebSocket for long enough, to be asked for now.

        One that was called unknown counts as known again until the exchange repeats it.
        """
        due = [row for row in self if row.left_out.ws is not _PRESENT and row.ws_again.is_due(now_ns)]
        for row in due:
            if row.left_out.ws is _UNKNOWN_SYMBOL:
                self._ask_again(row)
            else:
                row.ws_again.on_failure(now_ns, ASK_AGAIN_SECONDS)
        if due:
            self._show_unknown()
        return [row.symbol for row in due]

    def release(self, serial: int) -> None:
        """This connection ended or fell silent: its rows belong to whoever delivers next."""
        for row in self:
            if row.connection_serial == serial:
                row.release()

    def judge(self, now_ns: int, wall_ns: int, is_flowing: bool, is_behind: bool) -> Evidence:
        """Judge every row, publish the states that changed, and say what the rows tell of the connection."""
        self._others.refresh(now_ns)
        known = contradicted = agreed = frozen = dead = 0
        for row in self:
            if row.is_unknown:
                row.wants_rest = row.left_out.ws is not _UNKNOWN_SYMBOL and not row.is_guest
                continue
            watch = row.watch
            others = self._others.fresh(row.asset_index, now_ns, row.max_age_ns) if not row.is_guest else ()
            state = watch.judge(now_ns, wall_ns, is_flowing, others)
            if state is not row.state:
                self._write_state(row, state)
            if row.is_guest:
                continue
            row.wants_rest = (
                state in (RowState.FROZEN, RowState.STALE)
                or is_behind
                or watch.is_ws_silent(now_ns, is_flowing)
                or (row.left_out.rest is not _PRESENT and row.is_on_rest(now_ns))  # does REST know it by now?
            )
            known += 1
            contradicted += watch.contradictions > 0
            agreed += watch.agreed
            frozen += state is RowState.FROZEN
            dead += watch.is_dead(now_ns)
        self._counters.gauge("frozen_sources", frozen)
        return Evidence(known, contradicted, agreed, frozen, dead)

    def _row_of(self, quote: Quote) -> FeedRow | None:
        row = self._by_symbol.get(quote.symbol)
        if row is None or row.left_out.ws is _UNKNOWN_SYMBOL:
            if quote.symbol not in self._let_go:  # the exchange goes on for a moment after it was given up
                self._counters.refusal("unknown_symbol", quote.symbol)
            return None
        return row

    def _took(self, row: FeedRow, result: int, via: Via) -> bool:
        if result != WRITTEN:
            return False
        self._counters.quote(via)
        if row.state in _WAITING:
            self._write_state(row, RowState.LIVE)
        return True

    def _leave_out(self, row: FeedRow, left_out: LeftOut, again: Backoff) -> None:
        """Say why, in the table and in the log, and plan when to ask again."""
        now_ns = self._context.clock.monotonic_ns()
        again.on_failure(now_ns, ASK_AGAIN_SECONDS)
        row.stand(row.state, left_out)
        row.wants_rest &= left_out.ws is not _UNKNOWN_SYMBOL
        self._write_state(row, RowState.UNKNOWN if row.is_unknown else row.state, left_out)
        self._show_unknown()
        reasons = {way: absence.name.lower() for way, absence in left_out._asdict().items() if absence}
        seconds = round((again.due_ns - now_ns) / NS_PER_SECOND)
        fields = {"symbol": row.symbol, **reasons, "asked_again_in_seconds": seconds}
        self._context.log.warning("symbol unknown to the exchange, left out", extra={"fields": fields})

    def _ask_again(self, row: FeedRow) -> None:
        state = RowState.STARTING if row.state is RowState.UNKNOWN else row.state
        self._write_state(row, state, row.left_out._replace(ws=_PRESENT))

    def _found(self, row: FeedRow, left_out: LeftOut, again: Backoff) -> None:
        """A quote came over a way on which the row was missing."""
        again.on_good(self._context.clock.monotonic_ns())
        if row.left_out != left_out:
            state = RowState.STARTING if row.state is RowState.UNKNOWN else row.state
            self._write_state(row, state, left_out)
            self._show_unknown()
        else:
            row.stand(row.state, left_out)
        self._context.log.info("symbol is there again", extra={"fields": {"symbol": row.symbol}})

    def _write_state(self, row: FeedRow, state: RowState, left_out: LeftOut | None = None) -> None:
        row.stand(state, left_out or row.left_out)
        self._prices.write_state(self._exchange_index, row.asset_index, state, row.left_out, row.row_version)

    def _show_unknown(self) -> None:
        self._counters.gauge(
            "unknown_symbols", sum(row.left_out.ws is not _PRESENT and not row.is_guest for row in self)
        )
