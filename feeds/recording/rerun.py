"""The consensus process's state, made again out of a recording by the same rules that the process itself calls.

Rules: pure but for its own state. A checkpoint loads everything; rows are set as they were read; `review` decides one
asset and renders its answer; `end_turn` measures the coins for the next turn. Nothing is guessed: what came out of a
turn depends on nothing but what the recording says.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feeds.consensus import Decision, Memory, Source, evaluate
from feeds.gather import Gathered, exchange_names, listings_of
from feeds.peg import COINS, Index, measure, usable
from feeds.recording.entries import AssetState, Checkpoint, Header, RowInput
from feeds.render import render_consensus
from feeds.venue import judge_quote
from trinity.markets import Catalog
from trinity.memory.answer_table import AnswerState
from trinity.memory.price_table import RowState, StoredQuote


class Reviewed(NamedTuple):
    """One review; `is_new` is None where the decision before it is not known."""

    decision: Decision
    answer: NDArray[np.void]
    is_new: bool | None


class Rerun:
    """All desks, without a table."""

    def __init__(self, header: Header, checkpoint: Checkpoint) -> None:
        catalog = header.catalog
        self.catalog: Catalog = catalog
        self._exchanges = exchange_names(catalog, header.simulated)
        self._rows: list[dict[int, Gathered]] = []
        for asset in range(len(catalog.assets)):
            listings = listings_of(catalog, asset)
            self._rows.append(
                {
                    exchange: Gathered(None, Source(exchange, currency, RowState.UNKNOWN, None))
                    for exchange, currency in listings
                }
            )
        names = [asset.name for asset in catalog.assets]
        self._coins = {coin: names.index(coin) for coin in COINS if coin in names}
        self._memories = [state.memory for state in checkpoint.assets]
        self._last = [state.last for state in checkpoint.assets]
        self._published = [(state.state, state.valid_until_ns) for state in checkpoint.assets]
        self._decisions: list[Decision | None] = [None] * len(names)
        self._indexes: Mapping[str, Decimal] = checkpoint.indexes
        for row in checkpoint.rows:
            self.set_row(row, row.quote)

    def set_row(self, row: RowInput, quote: StoredQuote | None) -> None:
        """A row was read; `quote` None with `is_same`: its state alone is new."""
        before = self._rows[row.asset][row.exchange]
        source = before.source._replace(state=row.state)
        if row.is_same:
            quote = before.quote
        elif quote is not None:
            source = source._replace(venue=judge_quote(quote, self.catalog.assets[row.asset].rules))
        self._rows[row.asset][row.exchange] = Gathered(quote, source)

    def review(self, asset: int, now_ns: int) -> Reviewed:
        """Decide one asset as its desk does."""
        rules = self.catalog.assets[asset].rules
        decision, self._memories[asset] = evaluate(
            self._sources(asset), rules, self._indexes, self._memories[asset], now_ns
        )
        before = self._decisions[asset]
        is_new = decision != before if before is not None else None
        name = self.catalog.assets[asset].name
        answer, last = render_consensus(name, decision, self._exchanges, rules.min_sources, self._last[asset])
        if is_new is not False:
            self._decisions[asset], self._last[asset] = decision, last
            self._published[asset] = (decision.state, decision.valid_until_ns)
        return Reviewed(decision, answer, is_new)

    def end_turn(self, reviewed: Sequence[int], now_ns: int) -> None:
        """The indexes of the next turn, measured when a coin was reviewed."""
        if any(asset in self._coins.values() for asset in reviewed):
            self._indexes = usable(self.measured(now_ns))

    def checkpoint(self, at_ns: int, wall_ns: int) -> Checkpoint:
        """What the process would write now."""
        return Checkpoint(
            at_ns,
            wall_ns,
            tuple(
                RowInput(exchange, asset, gathered.source.state, gathered.quote)
                for asset, rows in enumerate(self._rows)
                for exchange, gathered in rows.items()
            ),
            tuple(
                AssetState(memory, last, *published)
                for memory, last, published in zip(self._memories, self._last, self._published, strict=True)
            ),
            dict(self._indexes),
        )

    def rows(self, asset: int) -> list[Gathered]:
        """An asset's rows in the catalog's order."""
        return list(self._rows[asset].values())

    def memory(self, asset: int) -> Memory:
        return self._memories[asset]

    def served(self, asset: int, now_ns: int) -> AnswerState:
        """What request workers make of the answer that was published last."""
        state, valid_until_ns = self._published[asset]
        return AnswerState.STALE if state is AnswerState.GOOD and now_ns >= valid_until_ns else state

    def measured(self, now_ns: int) -> Mapping[str, Index]:
        usdt, usdc = (self._sources(self._coins[coin]) if coin in self._coins else [] for coin in COINS)
        return measure(usdt, usdc, now_ns)

    def _sources(self, asset: int) -> list[Source]:
        return [gathered.source for gathered in self._rows[asset].values()]
