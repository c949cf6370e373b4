"""Quotes into real shared memory: who may write what, and what the rows say of themselves."""

import dataclasses
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from feeds.exchanges.contract import Quote, parse_price
from feeds.ingest.counters import FeedCounters
from feeds.ingest.freshness import ConnectionWatch
from feeds.ingest.rows import Rows
from tests.support.contexts import OpenContext
from tests.support.quotes import stored_quote
from trinity.clock import NS_PER_MS
from trinity.memory.price_table import Absence, LeftOut, RowState, StoredQuote, Via
from trinity.observe.metrics import FEED


class Table:
    """The rows of `kraken` over real memory, on a manual clock."""

    def __init__(self, context: OpenContext, clock: Any, exchange: Any) -> None:
        self.context = context
        self.clock = clock
        self.rows = Rows(
            context, context.of_feed, "kraken", exchange, FeedCounters(context.block, context.log, clock.monotonic_ns())
        )

    def ws(self, price: str, symbol: str = "BTC-USD", serial: int = 1, late_ms: int | None = 0) -> bool:
        time_ns = self.clock.wall_ns() - late_ms * NS_PER_MS if late_ms is not None else None
        quote = Quote(symbol, None, None, parse_price(price.encode()), time_ns)
        watch = ConnectionWatch(serial, 30)
        return self.rows.take_ws(quote, self.clock.monotonic_ns(), self.clock.wall_ns(), watch)

    def rest(self, price: str, asked_seconds_ago: float = 0.1, time_ns: int | None = None) -> bool:
        now_ns = self.clock.monotonic_ns()
        quote = Quote("BTC-USD", None, None, parse_price(price.encode()), time_ns)
        return self.rows.take_rest(quote, now_ns, self.clock.wall_ns(), now_ns - int(asked_seconds_ago * 1e9))

    def stored(self) -> tuple[str, Via]:
        quote = self.context.prices.read(0, 0)
        assert quote is not None
        assert quote.last is not None
        return str(quote.last.price), quote.via

    def judge(self, is_flowing: bool = True) -> Any:
        return self.rows.judge(self.clock.monotonic_ns(), self.clock.wall_ns(), is_flowing, False)

    def state(self, asset: int = 0) -> RowState:
        return self.context.prices.read_state(0, asset)

    def refusals(self, reason: str) -> int:
        return self.context.block.read_counter(FEED.index("parse_errors_total", reason))


@pytest.fixture
def table(make_context: Callable[..., OpenContext], clock: Any, stub_exchange: Any) -> Table:
    return Table(make_context(clock), clock, stub_exchange)


def test_rows_start_as_starting_and_live_with_their_first_quote(table: Table) -> None:
    """The states stand in the shared table before and after, without waiting for a check."""
    assert table.state() is RowState.STARTING
    assert table.ws("70000.10")
    assert table.state() is RowState.LIVE
    assert table.stored() == ("70000.10", Via.WS)
    assert table.state(1) is RowState.STARTING


def test_a_symbol_that_nobody_asked_for_is_refused(table: Table) -> None:
    """Counted as unknown_symbol, written nowhere."""
    assert not table.ws("1.0", symbol="DOGE-USD")
    assert table.refusals("unknown_symbol") == 1


def test_an_unknown_symbol_leaves_and_comes_back(table: Table) -> None:
    """Marked once, its state says so, its quotes are refused; forgotten, it starts again."""
    assert table.rows.mark_unknown("BTC-USD")
    assert not table.rows.mark_unknown("BTC-USD")
    assert not table.rows.mark_unknown("DOGE-USD")
    assert table.state() is RowState.UNKNOWN
    assert table.rows.known_symbols() == ["ETH-USD", "SOL-USD"]
    assert not table.ws("1.0")
    table.judge()
    assert table.state() is RowState.UNKNOWN
    table.rows.forget_unknown()
    assert table.state() is RowState.STARTING
    assert table.ws("1.0")


def test_a_replaced_connection_cannot_write_over_its_successor(table: Table) -> None:
    """A row belongs to the youngest connection that delivered for it."""
    assert table.ws("100", serial=1)
    assert table.ws("101", serial=2)
    assert not table.ws("99", serial=1)
    assert table.stored()[0] == "101"


def test_a_quote_out_of_order_is_refused(table: Table) -> None:
    """Two seconds older than the one before it: counted as bad_sequence, the newer price stays."""
    table.ws("100")
    assert not table.ws("99", late_ms=2000)
    assert table.refusals("bad_sequence") == 1
    assert table.stored()[0] == "100"


def test_rest_does_not_overwrite_what_came_after_the_asking(table: Table) -> None:
    """The WebSocket was faster than the answer: it stays; later REST may write."""
    table.ws("100")
    assert not table.rest("99")
    table.clock.advance(1)
    assert table.rest("101")
    assert table.stored() == ("101", Via.REST)
    assert table.ws("102")
    assert table.stored() == ("102", Via.WS)


def test_rows_that_fall_silent_want_rest(table: Table) -> None:
    """Not while they are live; soon when nothing flows; later when only they are silent."""
    row = next(iter(table.rows))
    table.ws("100")
    table.judge()
    assert not row.wants_rest
    table.clock.advance(1.6)
    table.judge(is_flowing=True)
    assert not row.wants_rest
    table.judge(is_flowing=False)
    assert row.wants_rest
    assert table.state() is RowState.QUIET
    table.ws("100")
    assert table.state() is RowState.LIVE


def test_the_other_exchanges_freeze_a_row_only_while_they_are_fresh(table: Table) -> None:
    """Two fresh others that moved freeze it; stale or frozen others prove nothing."""

    def others(price: str, state: RowState = RowState.LIVE) -> None:
        for exchange in (1, 2):
            stored = stored_quote(
                None, None, Decimal(price), None, table.clock.monotonic_ns(), table.clock.wall_ns(), Via.WS
            )
            table.context.prices.write(exchange, 0, stored)
            table.context.prices.write_state(exchange, 0, state)

    def go(price: str, state: RowState) -> RowState:
        for _ in range(8):
            table.clock.advance(0.5)
            table.ws("100", late_ms=None)
            others(price, state)
            table.judge()
        return table.state()

    others("100")
    table.ws("100", late_ms=None)
    table.judge()
    assert go("101", RowState.FROZEN) is RowState.LIVE
    assert go("101", RowState.LIVE) is RowState.FROZEN
    evidence = table.judge()
    assert (evidence.rows, evidence.frozen) == (3, 1)
    assert table.context.block.read_gauge(FEED.index("frozen_sources")) == 1
    table.clock.advance(4.5)
    table.ws("100.5")
    table.judge()
    assert table.state() is RowState.LIVE


def test_a_price_that_rest_repeats_without_a_time_does_not_make_the_row_younger(table: Table) -> None:
    """A REST service that stands still would keep its price fresh forever; a new price or a time is news again."""
    table.ws("70000.10")
    table.clock.advance(6)
    first_ns = table.context.prices.read(0, 0)
    assert not table.rest("70000.10")
    assert table.context.prices.read(0, 0) == first_ns
    assert table.rest("70000.20")
    assert table.stored() == ("70000.20", Via.REST)
    table.clock.advance(6)
    assert not table.rest("70000.20")


def test_a_price_that_rest_repeats_with_the_same_time_does_not_make_the_row_younger(table: Table) -> None:
    """Only a later time of the exchange says that the price still stands."""
    time_ns = table.clock.wall_ns()
    assert table.ws("70000.10")
    table.clock.advance(6)
    assert not table.rest("70000.10", time_ns=time_ns)
    assert table.stored() == ("70000.10", Via.WS)
    assert table.rest("70000.10", time_ns=table.clock.wall_ns())
    assert table.stored() == ("70000.10", Via.REST)


def test_a_trade_renews_no_book_and_a_book_no_trade(table: Table) -> None:
    """Each half stands in the table with the times of its own frame; an exchange without a price has none there."""

    def take(quote: Quote) -> bool:
        watch = ConnectionWatch(1, 30)
        return table.rows.take_ws(quote, table.clock.monotonic_ns(), table.clock.wall_ns(), watch)

    began_ns = table.clock.monotonic_ns()
    assert take(Quote("BTC-USD", parse_price(b"99"), parse_price(b"101"), None, None, tells_last=False))
    table.clock.advance(1)
    assert take(Quote("BTC-USD", None, None, parse_price(b"100"), None, tells_book=False))
    quote = table.context.prices.read(0, 0)
    assert quote is not None
    assert quote.bid is not None
    assert quote.last is not None
    assert (quote.bid.received_at_ns, quote.last.received_at_ns) == (began_ns, table.clock.monotonic_ns())
    table.clock.advance(1)
    assert not take(Quote("BTC-USD", None, None, None, None)), "nothing that makes the row younger"
    assert table.context.prices.read(0, 0) == StoredQuote(None, None, None, Via.WS)


def test_a_row_that_was_left_out_has_its_reason_in_the_table_until_it_is_there_again(table: Table) -> None:
    """Asked for again after a minute or two, then ever more seldom, at most some hours apart; a quote ends it."""
    prices, waits = table.context.prices, []
    for _ in range(12):
        assert table.rows.mark_unknown("BTC-USD")
        assert prices.read_left_out(0, 0) == LeftOut(ws=Absence.UNKNOWN_SYMBOL)
        since_ns = table.clock.monotonic_ns()
        while not (due := table.rows.take_due(table.clock.monotonic_ns())):
            table.clock.advance(10)
        assert due == ["BTC-USD"]
        assert prices.read_left_out(0, 0) == LeftOut()
        assert table.state() is RowState.STARTING
        waits.append((table.clock.monotonic_ns() - since_ns) / 1e9)
    assert 60 <= waits[0] <= 130
    assert min(waits) >= 60
    assert 3600 < max(waits) <= 4 * 3600 + 70
    assert table.ws("1.0")
    table.rows.mark_unknown("BTC-USD")
    assert table.rows.take_due(table.clock.monotonic_ns() + int(130e9)) == ["BTC-USD"], "it begins anew"


def test_a_row_that_was_passed_over_goes_on_by_rest(table: Table) -> None:
    """Named and with its reason, not unknown; one that delivered on the same connection is not."""
    assert table.ws("1.0", symbol="ETH-USD", serial=1)
    table.rows.mark_unacknowledged(["BTC-USD", "ETH-USD"], serial=1)
    assert table.context.prices.read_left_out(0, 0) == LeftOut(ws=Absence.NOT_ACKNOWLEDGED)
    assert table.context.prices.read_left_out(0, 1) == LeftOut()
    assert "BTC-USD" in table.rows.known_symbols()
    assert table.rest("70000.10")
    table.judge()
    assert table.state() is RowState.LIVE
    assert table.context.prices.read_left_out(0, 0) == LeftOut(ws=Absence.NOT_ACKNOWLEDGED)
    assert table.ws("70000.20")
    assert table.context.prices.read_left_out(0, 0) == LeftOut()


def test_a_row_that_neither_way_knows_is_unknown_and_comes_back_by_either(table: Table) -> None:
    """Its state says so while both are missing."""
    row = next(iter(table.rows))
    table.rows.mark_unacknowledged(["BTC-USD"], serial=1)
    assert table.rows.mark_not_on_rest("BTC-USD")
    table.judge()
    assert table.state() is RowState.UNKNOWN
    assert not row.is_on_rest(table.clock.monotonic_ns())
    table.clock.advance(130)
    assert row.is_on_rest(table.clock.monotonic_ns())
    assert row.wants_rest
    assert table.rest("70000.10")
    assert table.state() is RowState.LIVE
    assert table.context.prices.read_left_out(0, 0) == LeftOut(ws=Absence.NOT_ACKNOWLEDGED)


def test_rest_that_knows_nothing_has_an_outage(table: Table) -> None:
    """The last symbol that it denies makes all known again."""
    assert table.rows.mark_not_on_rest("BTC-USD")
    assert table.rows.mark_not_on_rest("ETH-USD")
    assert not table.rows.mark_not_on_rest("SOL-USD")
    assert all(row.is_on_rest(table.clock.monotonic_ns()) for row in table.rows)


def test_the_rows_of_an_ended_connection_go_back(table: Table) -> None:
    """The younger connection delivered once and ended: the older one, still good, writes on."""
    assert table.ws("100", serial=1)
    assert table.ws("101", serial=2)
    table.rows.release(2)
    assert table.ws("102", serial=1)
    assert table.stored()[0] == "102"


def test_a_price_of_another_exchange_that_could_not_be_read_is_read_again(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that lost its races against the writer is not taken for done, although nothing changes any more."""
    prices, now_ns = table.context.prices, table.clock.monotonic_ns
    prices.write(1, 0, stored_quote(None, None, Decimal(100), None, now_ns(), table.clock.wall_ns()))
    with monkeypatch.context() as patch:
        patch.setattr(prices, "copy", lambda *_: False)
        table.judge()
    assert table.rows._others.fresh(0, now_ns(), 10**10)[1] is None
    table.clock.advance(1)
    table.judge()
    assert table.rows._others.fresh(0, now_ns(), 10**10)[1] == 100.0


def test_a_restarted_feed_takes_a_bare_repeat_for_one(
    make_context: Callable[..., OpenContext], clock: Any, stub_exchange: Any
) -> None:
    """A successor knows what the table has: REST's old price makes no row young, a new price or a later time does."""
    context = make_context(clock)
    before = Table(context, clock, stub_exchange)
    assert before.rest("70000.10")
    written = context.prices.read(0, 0)
    clock.advance(3)
    after = Table(context, clock, stub_exchange)
    assert not after.rest("70000.10")
    assert context.prices.read(0, 0) == written
    after.judge()
    assert after.state() is not RowState.STALE
    clock.advance(1.1)
    assert not after.rest("70000.10")
    after.judge()
    assert after.state() is RowState.STALE
    assert after.rest("70000.10", time_ns=clock.wall_ns())
    assert after.state(1) is RowState.STARTING


@pytest.mark.parametrize(
    ("usd_before", "usd_after", "others_usd", "expected"),
    [
        (1.0, 0.99, "99", RowState.LIVE),  # the coin fell, and with it what a dollar buys: our market stood still
        (1.0, 0.99, "100", RowState.FROZEN),  # in coins the others rose by 1 %
        (1.0, 1.0, "101", RowState.FROZEN),
        (1.0, 0.0, "101", RowState.LIVE),  # nobody knows what the coin is worth: dollars say nothing of coins
    ],
)
def test_a_row_is_judged_in_its_own_currency(
    make_context: Callable[..., OpenContext],
    clock: Any,
    stub_exchange: Any,
    usd_before: float,
    usd_after: float,
    others_usd: str,
    expected: RowState,
) -> None:
    """Kraken quotes in USDT, the two others in USD: their moves count as far as the coin does not explain them."""
    context = make_context(clock)
    markets = tuple(replace(m, quote="USDT") if m.exchange == "kraken" else m for m in context.catalog.markets)
    table = Table(
        dataclasses.replace(context, catalog=replace(context.catalog, markets=markets)),
        clock,
        stub_exchange,
    )

    def go(price: str, usd: float, turns: int) -> RowState:
        context.answers.write_index(0, usd)
        for _ in range(turns):
            clock.advance(0.5)
            now_ns, wall_ns = clock.monotonic_ns(), clock.wall_ns()
            for exchange in (1, 2):
                stored = stored_quote(None, None, Decimal(price), None, now_ns, wall_ns, Via.WS)
                context.prices.write(exchange, 0, stored)
            table.ws("100", "BTC-USDT", late_ms=None)
            table.judge()
        return table.state()

    assert go("100", usd_before, 4) is RowState.LIVE
    assert go(others_usd, usd_after, 12) is expected
