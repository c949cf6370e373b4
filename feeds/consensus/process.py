"""The consensus process: what changed in the price table -> decisions -> rendered answers.

The turns themselves are compiled (cycle.py). Here is what goes before, between and behind them: what a predecessor
knew, the coins' indexes, assets whose numbers need decimals, the log, counters and gauges, and whoever watches.
Coins are measured between turns, at most once in COINS_GAP_NS: every conversion uses the indexes of before its turn,
so no order of the assets matters.

Rules: the only writer of the answer table. It may be killed at any moment: all it needs is in shared memory, and
what it had not published yet is found again by its successor, which reads everything once.
"""

import contextlib
import gc
import select
import signal
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from types import FrameType

import numpy as np

from feeds.consensus.decimals.inputs import recall, recall_coins
from feeds.consensus.decimals.stablecoins import Held, Index, Peg, follow, usable, watch
from feeds.consensus.decimals.venue import LAST_OFF_BOOK
from feeds.consensus.exact import review_exactly
from feeds.consensus.integers.arrays import (
    COUNT_DISAGREEMENTS,
    COUNT_OFF_BOOK,
    COUNT_REJECTED,
    COUNT_UPDATES,
    VERDICTS,
    arrays_over,
    make_arrays,
    set_carried,
    set_indexes,
)
from feeds.consensus.integers.cycle import (
    live_faulty,
    make_scratch,
    read_changes,
    serve,
    take_turn,
    wait_ms,
)
from feeds.consensus.state import MarketState
from feeds.consensus.turn import TurnFacts, TurnObserver
from trinity.compiled import compile_for
from trinity.limits import COINS_GAP_NS, STATE_LOG_GAP_NS
from trinity.memory.answer_table import COINS, VERDICT_REJECTED
from trinity.memory.control import COMMAND, Command
from trinity.observe.log import Settled
from trinity.observe.metrics import CONSENSUS
from trinity.process import ConsensusMemory, ProcessContext
from trinity.vocabulary import REJECT_REASONS

_INDEX_GAUGES = [CONSENSUS.index("stablecoin_usd_index", coin) for coin in COINS]
_DEPEG_GAUGES = [CONSENSUS.index("stablecoin_depeg", coin) for coin in COINS]
_UPDATES = CONSENSUS.index("price_updates_total")
_DISAGREEMENTS = CONSENSUS.index("sources_disagree_total")


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
    with contextlib.closing(select.epoll()) as epoll:
        epoll.register(memory.wake_fd, select.EPOLLIN)
        epoll.register(context.control_fd, select.EPOLLIN)
        context.log.info("started")
        while not stopped and context.block.read(COMMAND) != Command.DRAIN:
            aggregator.serve(epoll.fileno(), memory.wake_fd)
    aggregator.close()
    context.log.info("stopped")


def warm_up() -> None:
    """Compile all that `run` calls, or load it: the supervisor does it once, before it forks."""
    words = np.zeros(1, dtype=np.uint64)
    tables, state = arrays_over(words, words)
    compile_for(serve, tables, state, 0, 0, make_scratch())
    compile_for(read_changes, tables, state)
    compile_for(live_faulty, state, 0)


class Aggregator:
    """All assets of the node, the coins' indexes, and what of the price table was seen already."""

    def __init__(
        self, context: ProcessContext, memory: ConsensusMemory, observers: Sequence[TurnObserver] = ()
    ) -> None:
        self._context = context
        self._answers = memory.answers
        self._observers = observers
        catalog = context.catalog
        self._arrays = make_arrays(memory.prices, memory.answers, catalog, context.simulated)
        self._tables, self._state = self._arrays
        self.market = MarketState(self._arrays, memory.answers, catalog)
        for index, listings in enumerate(self.market.listings):
            set_carried(self.market.record(index), recall(memory.answers, index, listings))
        self._coins = {asset.name: index for index, asset in enumerate(catalog.assets) if asset.name in COINS}
        self._pegs = {
            coin: Peg(int(context.block.read_gauge(gauge))) for coin, gauge in zip(COINS, _DEPEG_GAUGES, strict=True)
        }
        self._told = [Settled(None) for _ in catalog.assets]
        self._scratch = make_scratch()
        self._counters = _counters(catalog.exchanges)
        read_changes(self._tables, self._state)  # a predecessor's quotes; every asset is due in the first turn
        self._held: Mapping[str, Held] = recall_coins(memory.answers)
        self._index_told: dict[str, tuple[str, int]] = {}
        self._indexes: dict[str, Decimal] = {}
        self._follow_coins(context.clock.monotonic_ns())
        self._state["coins_measured_at_ns"] = 0  # the first turn shows what comes out

    def close(self) -> None:
        """Let the observers write what is still in memory."""
        for observer in self._observers:
            observer.close(self._context.clock.monotonic_ns())

    def turn(self) -> None:
        """One turn by the process's clock, and everything that follows from it."""
        clock = self._context.clock
        take_turn(self._tables, self._state, clock.monotonic_ns(), clock.wall_ns())
        self._tell()

    def serve(self, epoll_fd: int, wake_fd: int) -> None:
        """Turn after turn as the feeds write, until there is something to tell; then tell it."""
        serve(self._tables, self._state, epoll_fd, wake_fd, self._scratch)
        self._tell()

    def wait_ms(self) -> int:
        """How long the next turn may wait for a quote."""
        return int(wait_ms(self._state, self._context.clock.monotonic_ns()))

    def _tell(self) -> None:
        """What follows from the last turns: decimals, coins, counters, the log, and those who watch."""
        context, state = self._context, self._state
        now_ns, wall_ns = int(state["decided_at_ns"]), context.clock.wall_ns()
        exact = self.market.exact()
        for asset in exact:
            self._review_exactly(asset, now_ns, wall_ns)
        is_measured = bool(state["coins_changed"]) and now_ns - int(state["coins_measured_at_ns"]) >= COINS_GAP_NS
        if is_measured:
            self._publish_indexes(now_ns)
        self._count()
        self._tell_states([*self.market.untold(), *exact], now_ns)
        published = state["published"][: int(state["published_count"])]
        facts = TurnFacts(now_ns, wall_ns, published, self.market, is_measured, self._indexes, self._held)
        for observer in self._observers:
            observer.on_turn(facts)
        state["published_count"] = 0
        state["each_turn"] = any(observer.wants_each_turn for observer in self._observers)
        state["told_at_ns"] = context.clock.monotonic_ns()
        context.block.beat(now_ns)

    def _review_exactly(self, asset: int, now_ns: int, wall_ns: int) -> None:
        """Decide an asset whose numbers need decimals, and write down what was published."""
        state, simulated = self._state, self._context.simulated
        faulty = int(live_faulty(state, now_ns))
        if review_exactly(self.market, asset, self._indexes, faulty, now_ns, simulated=simulated):
            record, count = self.market.record(asset), int(state["published_count"])
            outcome = (record[name] for name in ("state", "price", "confidence", "places"))
            sources, until_ns = int(record["used"]).bit_count(), record["valid_until_ns"]
            state["published"][count] = (asset, *outcome, sources, until_ns, now_ns, wall_ns)
            state["published_count"] = count + 1

    def _count(self) -> None:
        """Hand over what the turns counted."""
        counts, block = self._state["counts"], self._context.block
        for place in counts.nonzero()[0].tolist():
            block.count(self._counters[place], int(counts[place]))
        counts[:] = 0

    def _tell_states(self, assets: Iterable[int], now_ns: int) -> None:
        """A line of the assets that come or go together, each seldom while it flaps; none of a review stays untold."""
        news: dict[str, list[str]] = {}
        for asset in assets:
            state = self.market.state_of(asset)
            if self._told[asset].is_news(state, now_ns):
                news.setdefault(state.name.lower(), []).append(self.market.assets[asset].name)
                self.market.record(asset)["told"] = state
        for name, together in news.items():
            self._context.log.info("asset_state", extra={"fields": {"state": name, "assets": together}})

    def _follow_coins(self, now_ns: int) -> Mapping[str, Index]:
        """Measure the coins for the next turn."""
        usdt, usdc = (self.market.sources(self._coins[coin]) if coin in self._coins else [] for coin in COINS)
        indexes, self._held = follow(usdt, usdc, int(live_faulty(self._state, now_ns)), self._held, now_ns)
        self._indexes = usable(indexes)
        set_indexes(self._state, self._indexes)
        self._state["coins_changed"], self._state["coins_measured_at_ns"] = 0, now_ns
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


def _counters(exchanges: Sequence[str]) -> dict[int, int]:
    """The metric of each number that the turns count."""
    found = {COUNT_UPDATES: _UPDATES, COUNT_DISAGREEMENTS: _DISAGREEMENTS}
    for exchange, name in enumerate(exchanges):
        found[COUNT_OFF_BOOK + exchange] = CONSENSUS.index("price_rejected_total", name, LAST_OFF_BOOK)
        for i, reason in enumerate(REJECT_REASONS):
            place = COUNT_REJECTED + exchange * VERDICTS + VERDICT_REJECTED + i
            found[place] = CONSENSUS.index("price_rejected_total", name, reason)
    return found
