"""The consensus process: what changed in the price table -> decisions -> rendered answers.

One turn: find the cells whose counters or states changed, judge each changed quote once, decide each touched asset
once however many of its quotes changed, publish what came out differently (asset.py does one asset). Then wait
for the feeds' eventfd, at most CONSENSUS_WAIT_MS_MAX. An asset that nobody touched is looked at again after
CONSENSUS_REVIEW_NS, because time alone makes sources stale; a few in a turn, so that no quote waits behind them all.
One whose answer ends within CONSENSUS_AHEAD_NS is decided for that moment, so that there is no gap before the next.
Coins are measured after the assets of a turn: every conversion uses the index of the turn before, so no order of the
assets matters.

Rules: the only writer of the answer table. It may be killed at any moment: all it needs is in shared memory, and
what it had not published yet is found again by its successor, which reads everything once.
"""

import gc
import os
import select
import signal
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import FrameType

import numpy as np

from feeds.consensus.asset import ENDLESS_NS, AssetConsensus, SourceRow
from feeds.consensus.independence import faulty_of
from feeds.consensus.inputs import live_exchanges, recall_coins
from feeds.consensus.stablecoins import Held, Index, Peg, follow, usable, watch
from feeds.consensus.turn import TurnFacts, TurnObserver
from trinity.clock import NS_PER_MS
from trinity.limits import (
    CONSENSUS_AHEAD_NS,
    CONSENSUS_REVIEW_NS,
    CONSENSUS_REVIEWS_MAX,
    CONSENSUS_WAIT_MS_MAX,
    STATE_LOG_GAP_NS,
)
from trinity.memory.answer_table import COINS
from trinity.memory.control import COMMAND, Command
from trinity.observe.metrics import CONSENSUS
from trinity.process import ConsensusMemory, ProcessContext

_INDEX_GAUGES = [CONSENSUS.index(f"oracle_{coin.lower()}_usd_index") for coin in COINS]
_DEPEG_GAUGES = [CONSENSUS.index("oracle_stablecoin_depeg", coin) for coin in COINS]


def run(context: ProcessContext, memory: ConsensusMemory, observers: Sequence[TurnObserver] = ()) -> None:
    """Decide prices until SIGTERM, SIGINT or the DRAIN command; `observers` are told each turn, in their order."""
    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    aggregator = Aggregator(context, memory, observers)
    # A full collection over everything that numba imported takes tens of ms, and nothing here is cyclic.
    gc.collect()
    gc.freeze()
    poll = select.poll()
    for fd in (memory.wake_fd, context.control_fd):
        poll.register(fd, select.POLLIN)
    context.log.info("started")
    while not stopped and context.block.read(COMMAND) != Command.DRAIN:
        is_done = aggregator.turn()
        # An eventfd is emptied before the table is compared, so no wake-up is lost between the two.
        for fd, _ in poll.poll(aggregator.wait_ms() if is_done else 0):
            os.eventfd_read(fd)
    aggregator.close()
    context.log.info("stopped")


class Aggregator:
    """All assets of the node, the coins' indexes, and what of the price table was seen already."""

    def __init__(
        self, context: ProcessContext, memory: ConsensusMemory, observers: Sequence[TurnObserver] = ()
    ) -> None:
        self._context = context
        self._prices = memory.prices
        self._answers = memory.answers
        self._observers = observers
        # Nothing was seen yet, so that a predecessor's quotes are read as changes.
        self._seen_versions = np.zeros_like(memory.prices.versions())
        self._seen_states = np.zeros_like(memory.prices.states())
        self._assets = [AssetConsensus(context, memory.answers, index) for index in range(len(context.catalog.assets))]
        self._rows = {(row.exchange, asset.index): row for asset in self._assets for row in asset.rows}
        self._coins = {asset.name: asset for asset in self._assets if asset.name in COINS}
        self._pegs = {
            coin: Peg(int(context.block.read_gauge(gauge))) for coin, gauge in zip(COINS, _DEPEG_GAUGES, strict=True)
        }
        self._read: list[tuple[int, SourceRow]] = []
        self._decided_at_ns = 0
        self._next_end_ns = ENDLESS_NS
        self._read_changes()
        self._held: Mapping[str, Held] = recall_coins(memory.answers)
        self._index_told: dict[str, tuple[str, int]] = {}
        self._indexes: dict[str, Decimal] = {}
        self._follow_coins(context.clock.monotonic_ns())

    def close(self) -> None:
        """Let the observers write what is still in memory."""
        for observer in self._observers:
            observer.close(self._context.clock.monotonic_ns())

    def turn(self) -> bool:
        """Bring the answers of all changed assets, and of some that are due, up to date; False when more are due."""
        touched = self._read_changes()
        now_ns = self._decided_at_ns = self._moment()
        due_before_ns = now_ns - CONSENSUS_REVIEW_NS
        due = [
            asset
            for asset in self._assets
            if (asset.reviewed_at_ns <= due_before_ns or asset.ends_at_ns <= now_ns) and asset.index not in touched
        ]
        due.sort(key=_end_of)
        reviewed = [self._assets[index] for index in sorted(touched)] + due[:CONSENSUS_REVIEWS_MAX]
        faulty = self._faulty(now_ns)
        decided = [asset for asset in reviewed if asset.review(self._indexes, now_ns, faulty)]
        self._next_end_ns = min(map(_end_of, self._assets), default=ENDLESS_NS)
        if any(asset.name in self._coins for asset in reviewed):
            self._publish_indexes(now_ns)
        wall_ns = self._context.clock.wall_ns()
        facts = TurnFacts(now_ns, wall_ns, self._read, reviewed, decided, self._assets, self._indexes, self._held)
        for observer in self._observers:
            observer.on_turn(facts)
        self._context.block.beat(now_ns)
        return len(due) <= CONSENSUS_REVIEWS_MAX

    def wait_ms(self) -> int:
        """How long the next turn may wait for a quote: less where an answer ends before that."""
        ahead_ns = self._next_end_ns - CONSENSUS_AHEAD_NS - self._context.clock.monotonic_ns()
        return min(CONSENSUS_WAIT_MS_MAX, max(0, -(-ahead_ns // NS_PER_MS)))

    def _moment(self) -> int:
        """What a turn decides for (monotonic): now, or the next end of an answer when that is near; never back."""
        now_ns = max(self._context.clock.monotonic_ns(), self._decided_at_ns)
        return self._next_end_ns if now_ns < self._next_end_ns <= now_ns + CONSENSUS_AHEAD_NS else now_ns

    def _read_changes(self) -> set[int]:
        """Read the cells that changed since the last turn; returns the indexes of their assets."""
        prices = self._prices
        versions, states = prices.versions(), prices.states()
        new_quotes = versions != self._seen_versions
        touched: set[int] = set()
        self._read.clear()
        for exchange, asset in zip(
            *(axis.tolist() for axis in (new_quotes | (states != self._seen_states)).nonzero()), strict=True
        ):
            row = self._rows.get((exchange, asset))
            if row is None:
                continue
            touched.add(asset)
            self._read.append((asset, row))
            if not row.read(prices) and new_quotes[exchange, asset]:
                # The writer was too quick for the reader's bounded tries: look again in the next turn.
                versions[exchange, asset] = self._seen_versions[exchange, asset]
        self._seen_versions, self._seen_states = versions, states
        return touched

    def _faulty(self, now_ns: int) -> int:
        """How many of the exchanges that are live now may lie."""
        rows = ((row.source, asset.rules) for asset in self._assets for row in asset.rows)
        return faulty_of(len(live_exchanges(rows, now_ns, len(self._context.catalog.exchanges))))

    def _follow_coins(self, now_ns: int) -> Mapping[str, Index]:
        """Measure the coins for the next turn."""
        usdt, usdc = (self._coins[coin].sources() if coin in self._coins else [] for coin in COINS)
        indexes, self._held = follow(usdt, usdc, self._faulty(now_ns), self._held, now_ns)
        self._indexes = usable(indexes)
        for i, coin in enumerate(COINS):
            held = self._held[coin]
            if held.usd is not None:
                self._answers.write_measured(i, float(held.usd), held.measured_at_ns)
        return indexes

    def _publish_indexes(self, now_ns: int) -> None:
        """Measure the coins for the next turn, and tell people and alarms what came out."""
        context = self._context
        indexes = self._follow_coins(now_ns)
        for i, coin in enumerate(COINS):
            usd, state, measured = indexes[coin]
            told, told_at_ns = self._index_told.get(coin, ("", 0))
            if state != told and now_ns - told_at_ns >= STATE_LOG_GAP_NS:
                self._index_told[coin] = (state, now_ns)
                fields = {"coin": coin, "state": state, "exchanges": measured.independent, "needed": measured.needed}
                context.log.info("stablecoin_index", extra={"fields": fields})
            shown = float(usd) if usd is not None else 0.0
            self._answers.write_index(i, shown)
            context.block.set_gauge(_INDEX_GAUGES[i], shown)
            before, now = self._pegs[coin], watch(usd, self._pegs[coin], now_ns)
            self._pegs[coin] = now
            context.block.set_gauge(_DEPEG_GAUGES[i], now.level)
            if now.level != before.level:
                fields = {"coin": coin, "usd": shown, "level": now.level}
                context.log.warning("stablecoin_depeg", extra={"fields": fields})


def _end_of(asset: AssetConsensus) -> int:
    return asset.ends_at_ns
