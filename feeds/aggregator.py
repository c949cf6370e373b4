"""The consensus process: what changed in the price table -> decisions -> rendered answers.

One turn: find the cells whose counters or states changed, judge each changed quote once, decide each touched asset
once however many of its quotes changed, publish what came out differently (`feeds/desk.py` does one asset). Then wait
for the feeds' eventfd, at most CONSENSUS_WAIT_MS_MAX. An asset that nobody touched is looked at again after
CONSENSUS_REVIEW_NS, because time alone makes sources stale; a few in a turn, so that no quote waits behind them all.
Coins are measured after the assets of a turn: every conversion uses the index of the turn before, so no order of the
assets matters.

Rules: the only writer of the answer table. It may be killed at any moment: all it needs is in shared memory, and
what it had not published yet is found again by its successor, which reads everything once.
"""

import gc
import os
import select
import signal
from collections.abc import Mapping
from types import FrameType

import numpy as np

from feeds.desk import Desk
from feeds.peg import COINS, Index, Peg, measure, usable, watch
from trinity.limits import CONSENSUS_REVIEW_NS, CONSENSUS_REVIEWS_MAX, CONSENSUS_WAIT_MS_MAX
from trinity.memory.control import COMMAND, Command
from trinity.metrics import CONSENSUS
from trinity.seat import Seat

_INDEX_GAUGES = [CONSENSUS.index(f"oracle_{coin.lower()}_usd_index") for coin in COINS]
_DEPEG_GAUGES = [CONSENSUS.index("oracle_stablecoin_depeg", coin) for coin in COINS]


def run(seat: Seat) -> None:
    """Decide prices until SIGTERM, SIGINT or the DRAIN command."""
    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    aggregator = Aggregator(seat)
    # A full collection over everything that numba imported takes tens of ms, and nothing here is cyclic.
    gc.collect()
    gc.freeze()
    poll = select.poll()
    for fd in (seat.wake_fd, seat.control_fd):
        poll.register(fd, select.POLLIN)
    seat.log.info("started")
    while not stopped and seat.block.read(COMMAND) != Command.DRAIN:
        is_done = aggregator.turn()
        # An eventfd is emptied before the table is compared, so no wake-up is lost between the two.
        for fd, _ in poll.poll(CONSENSUS_WAIT_MS_MAX if is_done else 0):
            os.eventfd_read(fd)
    seat.log.info("stopped")


class Aggregator:
    """All desks of the node, the coins' indexes, and what of the price table was seen already."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        # Nothing was seen yet, so that a predecessor's quotes are read as changes.
        self._seen_versions = np.zeros_like(seat.prices.versions())
        self._seen_states = np.zeros_like(seat.prices.states())
        self._desks = [Desk(seat, index) for index in range(len(seat.catalog.assets))]
        self._rows = {(row.exchange, desk.index): row for desk in self._desks for row in desk.rows}
        self._coins = {desk.name: desk for desk in self._desks if desk.name in COINS}
        self._pegs = {
            coin: Peg(int(seat.block.read_gauge(gauge))) for coin, gauge in zip(COINS, _DEPEG_GAUGES, strict=True)
        }
        self._read_changes()
        self._indexes = usable(self._measured(seat.clock.monotonic_ns()))

    def turn(self) -> bool:
        """Bring the answers of all changed assets, and of some that are due, up to date; False when more are due."""
        touched = self._read_changes()
        now_ns = self._seat.clock.monotonic_ns()
        due_before_ns = now_ns - CONSENSUS_REVIEW_NS
        due = [desk for desk in self._desks if desk.reviewed_at_ns <= due_before_ns and desk.index not in touched]
        reviewed = [self._desks[index] for index in sorted(touched)] + due[:CONSENSUS_REVIEWS_MAX]
        for desk in reviewed:
            desk.review(self._indexes, now_ns)
        if any(desk.name in self._coins for desk in reviewed):
            self._publish_indexes(now_ns)
        self._seat.block.beat(now_ns)
        return len(due) <= CONSENSUS_REVIEWS_MAX

    def _read_changes(self) -> set[int]:
        """Read the cells that changed since the last turn; returns the indexes of their assets."""
        prices = self._seat.prices
        versions, states = prices.versions(), prices.states()
        new_quotes = versions != self._seen_versions
        touched: set[int] = set()
        for exchange, asset in zip(
            *(axis.tolist() for axis in (new_quotes | (states != self._seen_states)).nonzero()), strict=True
        ):
            row = self._rows.get((exchange, asset))
            if row is None:
                continue
            touched.add(asset)
            if not row.read(prices) and new_quotes[exchange, asset]:
                # The writer was too quick for the reader's bounded tries: look again in the next turn.
                versions[exchange, asset] = self._seen_versions[exchange, asset]
        self._seen_versions, self._seen_states = versions, states
        return touched

    def _measured(self, now_ns: int) -> Mapping[str, Index]:
        usdt, usdc = (self._coins[coin].sources() if coin in self._coins else [] for coin in COINS)
        return measure(usdt, usdc, now_ns)

    def _publish_indexes(self, now_ns: int) -> None:
        """Measure the coins for the next turn, and tell people and alarms what came out."""
        seat = self._seat
        measured = self._measured(now_ns)
        self._indexes = usable(measured)
        for i, coin in enumerate(COINS):
            usd = measured[coin].usd
            shown = float(usd) if usd is not None else 0.0
            seat.answers.write_index(i, shown)
            seat.block.set_gauge(_INDEX_GAUGES[i], shown)
            before, now = self._pegs[coin], watch(usd, self._pegs[coin], now_ns)
            self._pegs[coin] = now
            seat.block.set_gauge(_DEPEG_GAUGES[i], now.level)
            if now.level != before.level:
                fields = {"coin": coin, "usd": shown, "level": now.level}
                seat.log.warning("stablecoin_depeg", extra={"fields": fields})
