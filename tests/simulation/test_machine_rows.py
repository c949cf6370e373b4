"""A feed's rows as a state machine: two connections and REST want to write, and time passes."""

import logging
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from feeds.exchanges.contract import Quote, parse_price
from feeds.exchanges.registry import EXCHANGE_MODULES
from feeds.ingest.counters import FeedCounters
from feeds.ingest.freshness import ConnectionWatch
from feeds.ingest.rows import Rows
from tests.simulation.world import CATALOG, Clock
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.memory import answer_table, price_table
from trinity.memory.answer_table import AnswerTable
from trinity.memory.asset_table import AssetTable
from trinity.memory.control import BLOCK_WORDS, ProcessBlock
from trinity.memory.price_table import PriceTable, RowState, StoredQuote, Via
from trinity.process import FeedMemory

KRAKEN = CATALOG.exchange_index("kraken")
BTC = CATALOG.asset_index("BTC")
MAX_AGE_NS = CATALOG.assets[BTC].rules.max_age_ms * NS_PER_MS
OLD, YOUNG = 1, 2

prices = st.sampled_from(["70000.1", "70000.2", "70001.0", "70100.0"])
delays_ms = st.sampled_from([0, 0, 0, 100, 400, 3_000, 20_000, -200, -8_000])


def last_of(quote: Any) -> Decimal | None:
    """The last price of a stored quote, whether it stands there by itself or with its times."""
    last: Decimal | None = getattr(quote.last, "price", quote.last)
    return last


def received_at_ns(quote: Any) -> int:
    """When the newest part of a stored quote was received."""
    received: int = getattr(quote, "newest", quote).received_at_ns
    return received


class RowsMachine(RuleBasedStateMachine):
    """One row, BTC on Kraken."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        exchanges, assets = len(CATALOG.exchanges), len(CATALOG.assets)
        segment: Any = SimpleNamespace(body=np.zeros(price_table.body_words(exchanges, assets), dtype=np.uint64))
        self.table = PriceTable(segment, exchanges, assets, assets)
        block = ProcessBlock(np.zeros(BLOCK_WORDS, dtype=np.uint64))
        log = logging.getLogger("simulation")
        private: Any = SimpleNamespace(body=np.zeros(answer_table.body_words(exchanges, assets), dtype=np.uint64))
        answers = AnswerTable(private, exchanges, assets, assets)
        self.memory = FeedMemory(self.table, answers, -1, AssetTable.private())
        self.context: Any = SimpleNamespace(catalog=CATALOG, clock=self.clock, block=block, log=log)
        self.counters = FeedCounters(block, log, self.clock.monotonic_ns())
        self.start()
        self.newest: StoredQuote | None = None
        self.young_at_ns: int | None = None
        self.judged_at_ns = -1

    def start(self) -> None:
        self.rows = Rows(self.context, self.memory, "kraken", EXCHANGE_MODULES["kraken"], self.counters)
        self.watches = {serial: ConnectionWatch(serial, 30.0) for serial in (OLD, YOUNG)}

    def quote(self, price: str, time_ns: int | None) -> Quote:
        bid, ask, last = (parse_price(str(Decimal(price) + step).encode()) for step in (-1, 1, 0))
        return Quote("BTC/USD", bid, ask, last, time_ns)

    @rule(ms=st.sampled_from([1, 50, 900, 3_000, 11_000]))
    def time_passes(self, ms: int) -> None:
        self.clock.true_ns += ms * NS_PER_MS

    @rule(seconds=st.sampled_from([-2, 2, -60, 60]))
    def wall_clock_is_set(self, seconds: int) -> None:
        self.clock.wall_error_ns += seconds * NS_PER_SECOND

    @rule(serial=st.sampled_from([OLD, YOUNG]), price=prices, late_ms=delays_ms, has_time=st.booleans())
    def ws(self, serial: int, price: str, late_ms: int, has_time: bool) -> None:
        """A quote over one of the connections; the older one does not write over what the younger just said."""
        time_ns = self.clock.true_wall_ns() - late_ms * NS_PER_MS if has_time else None
        now_ns, before = self.clock.monotonic_ns(), self.table.read(KRAKEN, BTC)
        is_written = self.rows.take_ws(self.quote(price, time_ns), now_ns, self.clock.wall_ns(), self.watches[serial])
        self.check_write(is_written, before, price)
        if serial == OLD and self.young_at_ns is not None and now_ns - self.young_at_ns < NS_PER_SECOND:
            assert not is_written
        if serial == YOUNG and is_written:
            self.young_at_ns = now_ns

    @rule(price=prices, late_ms=delays_ms, has_time=st.booleans(), asked_ms=st.sampled_from([0, 50, 4_000]))
    def rest(self, price: str, late_ms: int, has_time: bool, asked_ms: int) -> None:
        """A REST answer; a repeat without a newer time makes nothing younger, also after a restart."""
        time_ns = self.clock.true_wall_ns() - late_ms * NS_PER_MS if has_time else None
        now_ns, before = self.clock.monotonic_ns(), self.table.read(KRAKEN, BTC)
        quote = self.quote(price, time_ns)
        is_written = self.rows.take_rest(quote, now_ns, self.clock.wall_ns(), now_ns - asked_ms * NS_PER_MS)
        self.check_write(is_written, before, price)
        if before is not None and last_of(before) == (quote.last and quote.last.decimal) and time_ns is None:
            assert not is_written

    @rule()
    def judge(self) -> None:
        """The feed's check."""
        self.rows.judge(self.clock.monotonic_ns(), self.clock.wall_ns(), True, False)
        self.judged_at_ns = self.clock.monotonic_ns()

    @rule()
    def restart(self) -> None:
        """A new process over the same table: what stands there stays until it writes."""
        self.start()
        self.young_at_ns = None
        self.judged_at_ns = -1

    def check_write(self, is_written: bool, before: StoredQuote | None, price: str) -> None:
        after = self.table.read(KRAKEN, BTC)
        if not is_written:
            assert after == before
            return
        assert after is not None
        assert last_of(after) == Decimal(price)
        assert received_at_ns(after) == self.clock.monotonic_ns()
        assert after.via in (Via.WS, Via.REST)
        self.newest = after

    @invariant()
    def the_cell_is_what_was_written_last(self) -> None:
        """No refused quote and no other row's ever gets there."""
        assert self.table.read(KRAKEN, BTC) == self.newest

    @invariant()
    def a_judged_row_is_not_called_fresh_when_it_is_not(self) -> None:
        """After a check, live and quiet mean: within the age limit."""
        if self.judged_at_ns != self.clock.monotonic_ns() or self.newest is None:
            return
        if self.table.read_state(KRAKEN, BTC) in (RowState.LIVE, RowState.QUIET):
            assert self.clock.monotonic_ns() - received_at_ns(self.newest) <= MAX_AGE_NS

    @invariant()
    def nobody_else_is_written(self) -> None:
        """The other exchanges' cells are only read."""
        versions = self.table.versions()
        versions[KRAKEN] = 0
        assert not versions.any()


RowsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class TestRows(RowsMachine.TestCase):
    """Found by pytest."""
