"""An asset's quotes -> its price, or why there is none, and the records of its rows. Pure.

The rules are those of every asset (feeds/consensus/decimals), with the markets file's `defaults`; nothing is decided
here. Who answered counts among the live exchanges of the market.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feeds.consensus.decimals.independence import faulty_of
from feeds.consensus.decimals.render import Labels, LastGood, render_consensus, render_nothing, render_venue
from feeds.consensus.decimals.robust import majority_window
from feeds.consensus.decimals.rules import ConsensusState, Decision, Source, evaluate, refusal_of
from feeds.consensus.decimals.stablecoins import required_of
from feeds.consensus.decimals.venue import judge_quote, phase_at
from trinity.markets import AssetRules
from trinity.memory.answer_table import AnswerState
from trinity.memory.price_table import RowState, StoredQuote

Record = NDArray[np.void]


class Offer(NamedTuple):
    """One exchange that lists the asset: what it quotes it in, its newest quote, and how its feed judges the row."""

    currency: str
    quote: StoredQuote | None
    state: RowState = RowState.LIVE


class DecisionInput(NamedTuple):
    """Everything that a decision is made of; `offers` by exchange index, `live` are the market's live exchanges."""

    asset: str
    offers: Mapping[int, Offer]
    live: frozenset[int]
    indexes: Mapping[str, Decimal]
    carried: ConsensusState
    now_ns: int


class Decided(NamedTuple):
    """A decision, what the next one carries on, and the sources it was made of."""

    decision: Decision
    carried: ConsensusState
    sources: tuple[Source, ...]

    @property
    def is_good(self) -> bool:
        return self.decision.state is AnswerState.GOOD


def faulty_among(case_live: frozenset[int], offers: Mapping[int, Offer]) -> int:
    """How many exchanges may lie: of those that are live in the market, and those that answered now."""
    return faulty_of(len(case_live | {exchange for exchange, offer in offers.items() if offer.quote is not None}))


def decide(case: DecisionInput, rules: AssetRules) -> Decided:
    """The consensus of the offers."""
    sources = tuple(
        Source(exchange, offer.currency, offer.state, judge_quote(offer.quote, rules) if offer.quote else None)
        for exchange, offer in sorted(case.offers.items())
    )
    faulty = faulty_among(case.live, case.offers)
    required = required_of(case.asset, rules.min_sources, faulty)
    decision, carried = evaluate(sources, rules, case.indexes, case.carried, case.now_ns, faulty, required)
    return Decided(decision, carried, sources)


def is_settled(decided: Decided, rules: AssetRules, listing: int) -> bool:
    """Whether a price stands whatever the rest of `listing` exchanges, who have not answered yet, will say: more than
    half of them all agree already, so that no answer can take the majority from them."""
    prices = [vote.price for vote in decided.decision.votes]
    return decided.is_good and majority_window(prices, rules.majority_window_bps, listing // 2 + 1) is not None


def records(
    case: DecisionInput,
    decided: Decided,
    names: tuple[str, ...],
    last: Mapping[int | None, LastGood | None],
    *,
    simulated: bool,
) -> dict[int | None, Record]:
    """The asset's rows by exchange index, None for the consensus; `names` are all exchanges' by index.

    `last` is each row's last good price, of this asset and no other.
    """
    shown = [f"simulated:{name}" if simulated else name for name in names]
    decision = decided.decision
    rendered: dict[int | None, Record] = {
        None: render_consensus(case.asset, decision, shown, decision.asked.required, last.get(None)).record
    }
    sources = {source.exchange: source for source in decided.sources}
    for exchange, name in enumerate(names):
        source, before = sources.get(exchange), last.get(exchange)
        if source is None:
            rendered[exchange] = render_nothing(AnswerState.NOT_LISTED, None).record
            continue
        quote = case.offers[exchange].quote
        if source.venue is None or quote is None:
            rendered[exchange] = render_nothing(AnswerState.EMPTY, before).record
            continue
        state = AnswerState.GOOD if refusal_of(source, case.now_ns) is None else AnswerState.STALE
        labels = Labels(case.asset, name, source.currency, simulated)
        rendered[exchange] = render_venue(labels, quote.via, phase_at(source.venue, case.now_ns), state, before).record
    return rendered
