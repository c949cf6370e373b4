"""The consensus process's state, made again out of a recording by the same rules that the process itself calls.

Rules: pure but for its own state. A checkpoint loads everything; rows are set as they were read; `review` decides one
asset and renders its answer; `measure_coins` measures the coins for the next turn. Nothing is guessed: what came out
of a turn depends on nothing but what the recording says.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feeds.audit.entries import AssetState, Checkpoint, Header, RowInput
from feeds.consensus.decimals.independence import faulty_of
from feeds.consensus.decimals.inputs import Gathered, exchange_names, listings_of, live_exchanges
from feeds.consensus.decimals.render import render_consensus
from feeds.consensus.decimals.rules import ConsensusState, Decision, Source, evaluate
from feeds.consensus.decimals.stablecoins import Held, Index, follow, required_of, usable
from feeds.consensus.decimals.venue import judge_quote
from feeds.consensus.state import ReviewOutcome
from trinity.markets import Catalog
from trinity.memory.answer_table import COINS, AnswerState
from trinity.memory.price_table import RowState, StoredQuote


class Reviewed(NamedTuple):
    """One review; `is_new` is None where the decision before it is not known."""

    decision: Decision
    answer: NDArray[np.void]
    is_new: bool | None


def outcome_of(decision: Decision) -> ReviewOutcome:
    """A decision as the consensus process keeps it."""
    return ReviewOutcome(
        decision.state,
        decision.price,
        decision.confidence,
        decision.used,
        dict(decision.rejected),
        decision.valid_until_ns,
    )


class Rerun:
    """All assets, without a table."""

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
        self._carried = [state.carried for state in checkpoint.assets]
        self._last = [state.last for state in checkpoint.assets]
        self._published = [(state.state, state.valid_until_ns) for state in checkpoint.assets]
        self._shown: list[tuple[bytes, Mapping[int, str]] | None] = [None] * len(names)
        self._indexes: Mapping[str, Decimal] = checkpoint.indexes
        self._held: Mapping[str, Held] = checkpoint.held
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
        """Decide one asset as the process does."""
        decision, self._carried[asset] = self.decide(asset, self._indexes, now_ns)
        name = self.catalog.assets[asset].name
        answer, last = render_consensus(name, decision, self._exchanges, decision.asked.required, self._last[asset])
        shown, before = (answer.tobytes(), decision.rejected), self._shown[asset]
        is_new = shown != before if before is not None else None
        self._shown[asset], self._last[asset] = shown, last
        self._published[asset] = (decision.state, decision.valid_until_ns)
        return Reviewed(decision, answer, is_new)

    def decide(self, asset: int, indexes: Mapping[str, Decimal], now_ns: int) -> tuple[Decision, ConsensusState]:
        """One evaluation by these indexes, with what the next turn carries; nothing here changes."""
        known = self.catalog.assets[asset]
        faulty = faulty_of(len(self.live(now_ns)))
        required = required_of(known.name, known.rules.min_sources, faulty)
        return evaluate(self._sources(asset), known.rules, indexes, self._carried[asset], now_ns, faulty, required)

    def live(self, now_ns: int) -> frozenset[int]:
        """The exchanges that were heard lately."""
        rows = (
            (gathered.source, asset.rules)
            for asset, gathered_rows in zip(self.catalog.assets, self._rows, strict=True)
            for gathered in gathered_rows.values()
        )
        return live_exchanges(rows, now_ns, len(self.catalog.exchanges))

    def measure_coins(self, now_ns: int) -> None:
        """Measure the indexes of the next turn."""
        indexes, self._held = self.followed(now_ns)
        self._indexes = usable(indexes)

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
                AssetState(carried, last, *published)
                for carried, last, published in zip(self._carried, self._last, self._published, strict=True)
            ),
            dict(self._indexes),
            dict(self._held),
        )

    def rows(self, asset: int) -> list[Gathered]:
        """An asset's rows in the catalog's order."""
        return list(self._rows[asset].values())

    def carried(self, asset: int) -> ConsensusState:
        return self._carried[asset]

    def served(self, asset: int, now_ns: int) -> AnswerState:
        """What request workers make of the answer that was published last."""
        state, valid_until_ns = self._published[asset]
        return AnswerState.STALE if state is AnswerState.GOOD and now_ns >= valid_until_ns else state

    def followed(self, now_ns: int) -> tuple[dict[str, Index], dict[str, Held]]:
        """The coins' indexes now, and what the next turn would carry; nothing here changes."""
        usdt, usdc = (self._sources(self._coins[coin]) if coin in self._coins else [] for coin in COINS)
        return follow(usdt, usdc, faulty_of(len(self.live(now_ns))), self._held, now_ns)

    def _sources(self, asset: int) -> list[Source]:
        return [gathered.source for gathered in self._rows[asset].values()]
