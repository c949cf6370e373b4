"""What a changed quote costs the consensus: read, decide, render and publish, by the integers and by the decimal rules.

Rules: one market of six exchanges over private tables; each turn one exchange's quote of one asset changes, as
prepared quotes are put into its cell. Both ways start from the same quotes and publish the asset's answer and the
exchange's own. Processor time of this thread, the least of some turns; what putting the quotes costs is taken off.
"""

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.progress import Progress
from feeds.consensus.decimals.inputs import exchange_names, gather, listings_of
from feeds.consensus.decimals.render import Labels, render_consensus, render_venue
from feeds.consensus.decimals.rules import ConsensusState, evaluate
from feeds.consensus.decimals.venue import phase_at
from feeds.consensus.integers.arrays import TableWords, make_arrays, set_indexes
from feeds.consensus.integers.cycle import take_turn
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.compiled import compiled
from trinity.markets import Catalog, load_catalog
from trinity.memory.answer_table import AnswerState
from trinity.memory.atomics import Words
from trinity.memory.cell import publish, snapshot
from trinity.memory.node import Card, NodeMemory
from trinity.memory.price_table import QUOTE_DTYPE, SLOT_WORDS, PriceTable, RowState, Side, StoredQuote, Via, cell_at

ASSET = "BTC"
# Quotes that follow each other, and how many of them a turn of the measurement puts.
PREPARED = 60
QUOTES = 20_000
DECIMAL_QUOTES = 400
_FIRST_WALL_NS = 1_790_000_000 * NS_PER_SECOND
_INDEXES = {"USDT": Decimal("1.000123456789"), "USDC": Decimal("0.999987654321")}


def measure_consensus(turns: int, progress: Progress) -> dict[str, Any]:
    """CPU microseconds of one changed quote, by the compiled turn and by the decimal rules, and their ratio."""
    catalog, clock = load_catalog(), SystemClock()
    card = Card(f"bench-{clock.monotonic_ns():x}", simulated=False, processes=(), catalog=catalog)
    memory = NodeMemory.create(card)
    try:
        market = _Market(memory, catalog, clock.monotonic_ns())
        progress.step("a changed quote, by integers")
        market.drive(1_000, puts_only=False)
        put_ns = min(_cpu_ns(lambda: market.drive(QUOTES, puts_only=True)) for _ in range(turns)) / QUOTES
        whole_ns = min(_cpu_ns(lambda: market.drive(QUOTES, puts_only=False)) for _ in range(turns)) / QUOTES
        progress.step("the same, by the decimal rules")
        decimal_ns = min(_cpu_ns(lambda: market.drive_decimals(DECIMAL_QUOTES)) for _ in range(turns)) / DECIMAL_QUOTES
    finally:
        memory.unlink()
    quote_us = (whole_ns - put_ns) / 1_000
    return {
        "quote_us": round(quote_us, 3),
        "put_us": round(put_ns / 1_000, 3),
        "decimal_quote_us": round(decimal_ns / 1_000, 1),
        "times_less": round(decimal_ns / 1_000 / quote_us, 1),
    }


def _cpu_ns(run: Callable[[], object]) -> int:
    before = time.thread_time_ns()
    run()
    return time.thread_time_ns() - before


class _Market:
    """The asset's rows over real tables, and quotes to put there."""

    def __init__(self, memory: NodeMemory, catalog: Catalog, now_ns: int) -> None:
        self._catalog = catalog
        self._prices: PriceTable = memory.prices
        self._asset = catalog.asset_index(ASSET)
        self._listings = listings_of(catalog, self._asset)
        self._now_ns = now_ns
        self._arrays = make_arrays(memory.prices, memory.answers, catalog, simulated=False)
        set_indexes(self._arrays.state, _INDEXES)
        self._quotes = np.zeros((PREPARED, SLOT_WORDS), dtype=np.uint64)
        self._cells = np.zeros(PREPARED, dtype=np.int64)
        for i in range(PREPARED):
            listing = self._listings[i % len(self._listings)]
            self._prices.write(listing.exchange, self._asset, self._quote(i))
            self._prices.write_state(listing.exchange, self._asset, RowState.LIVE)
            base = cell_at(self._prices.exchanges, self._prices.capacity, listing.exchange, self._asset)
            self._cells[i] = base
            self._quotes[i] = _newest(self._prices.words, int(base))
        self._carried = ConsensusState()

    def _quote(self, number: int) -> StoredQuote:
        price = Decimal(7_100_000 + number % 7).scaleb(-2)
        at_ns = self._now_ns + number * NS_PER_MS
        wall_ns = at_ns - self._now_ns + _FIRST_WALL_NS
        bid, ask, last = (
            Side(price + step, wall_ns, at_ns, wall_ns) for step in (Decimal(0), Decimal("0.02"), Decimal("0.01"))
        )
        return StoredQuote(bid, ask, last, Via.WS)

    def drive(self, count: int, *, puts_only: bool) -> None:
        """So many changed quotes, each followed by a turn."""
        tables, state = self._arrays
        state["each_turn"] = state["published_count"] = 0
        _drive(tables, state, self._quotes, self._cells, count, self._now_ns, puts_only)

    def drive_decimals(self, count: int) -> None:
        """The same by evaluate and the renderers, without a table for the answers."""
        rules, names = self._catalog.assets[self._asset].rules, exchange_names(self._catalog, simulated=False)
        for number in range(count):
            listing = self._listings[number % len(self._listings)]
            rows = [gather(self._prices, self._asset, each, rules) for each in self._listings]
            sources = [row.source for row in rows]
            decision, self._carried = evaluate(sources, rules, _INDEXES, self._carried, self._now_ns + number, 2)
            render_consensus(ASSET, decision, names, rules.min_sources, None)
            row = rows[number % len(rows)]
            assert row.quote is not None
            assert row.source.venue is not None
            labels = Labels(ASSET, self._catalog.exchanges[listing.exchange], listing.currency, simulated=False)
            render_venue(labels, row.quote.via, phase_at(row.source.venue, self._now_ns), AnswerState.GOOD, None)


def _newest(words: Words, base: int) -> Words:
    value = np.zeros(QUOTE_DTYPE.itemsize // 8, dtype=np.uint64)
    assert snapshot(words, base, SLOT_WORDS, value)
    return value


@compiled
def _drive(
    tables: TableWords,
    state: np.void,
    quotes: NDArray[np.uint64],
    cells: NDArray[np.int64],
    count: int,
    now_ns: int,
    puts_only: bool,
) -> None:
    for number in range(count):
        which = number % PREPARED
        publish(tables.prices, cells[which], SLOT_WORDS, quotes[which])
        if not puts_only:
            state["published_count"] = 0  # as the process does, that hands them to those who watch
            take_turn(tables, state, now_ns + number, _FIRST_WALL_NS + number)
