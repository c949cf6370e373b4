"""One asset in the consensus process: its rows as last read, what it carries, and what it published last.

Rules: `review` decides and publishes what came out differently; nothing else writes the asset's answers and
verdicts. A row is judged once per quote and rendered once per change. Counters count changes of a verdict, not turns,
or a quiet outlier would weigh more than a busy one.
"""

from collections.abc import Mapping
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from feeds.consensus.inputs import Listing, exchange_names, gather, listings_of, recall
from feeds.consensus.render import Labels, LastGood, last_good_of, render_consensus, render_nothing, render_venue
from feeds.consensus.rules import Decision, Source, evaluate, refusal_of
from feeds.consensus.stablecoins import required_of
from feeds.consensus.venue import LAST_OFF_BOOK, VenuePrice, phase_at
from trinity.markets import AssetRules
from trinity.memory.answer_table import VERDICT_REJECTED, VERDICT_USED, AnswerState, AnswerTable
from trinity.memory.price_table import PriceTable, RowState, StoredQuote
from trinity.observe.log import Settled
from trinity.observe.metrics import CONSENSUS
from trinity.process import ProcessContext
from trinity.vocabulary import REJECT_REASONS

_UPDATES = CONSENSUS.index("oracle_price_updates_total")
_DISAGREEMENTS = CONSENSUS.index("oracle_sources_disagree_total")
# The end of an answer that has none.
ENDLESS_NS = 2**63 - 1
_VERDICT_OF = {reason: VERDICT_REJECTED + i for i, reason in enumerate(REJECT_REASONS)}


class AssetConsensus:
    """One asset: `rows` of the exchanges that list it, in the catalog's order; `index` is the catalog's.

    `ends_at_ns` (monotonic) is the first moment at which the answer can no longer be served.
    """

    def __init__(self, context: ProcessContext, answers: AnswerTable, index: int) -> None:
        asset = context.catalog.assets[index]
        listings = listings_of(context.catalog, index)
        self.index = index
        self.name = asset.name
        self.reviewed_at_ns = 0
        self.ends_at_ns = ENDLESS_NS
        self.rows = [SourceRow(context, answers, index, listing) for listing in listings]
        self._context = context
        self._answers = answers
        self.rules = asset.rules
        self._row = answers.row_of(index)
        self._exchanges = exchange_names(context.catalog, context.simulated)
        self.carried = recall(answers, index, listings)
        self.last: LastGood | None = last_good_of(answers.read(self._row))
        self.decision: Decision | None = None
        self.answer: NDArray[np.void] | None = None
        self._told = Settled(None)
        for exchange in set(range(len(context.catalog.exchanges))) - {row.exchange for row in self.rows}:
            answers.write(answers.row_of(index, exchange), render_nothing(AnswerState.NOT_LISTED, None).record)

    def sources(self) -> list[Source]:
        """What the rows say, as the consensus wants it."""
        return [row.source for row in self.rows]

    def review(self, indexes: Mapping[str, Decimal], now_ns: int, faulty: int = 0) -> bool:
        """Decide the asset at `now_ns` (monotonic) and publish what changed, the consensus before the rows.

        `faulty` exchanges of the whole market may lie; 0: what the asset's own quotes can bear.
        True when the decision is another than before; `decision` and `answer` then are what was published.
        """
        self.reviewed_at_ns = now_ns
        required = required_of(self.name, self.rules.min_sources, faulty)
        decision, self.carried = evaluate(self.sources(), self.rules, indexes, self.carried, now_ns, faulty, required)
        self.ends_at_ns = decision.valid_until_ns or ENDLESS_NS
        is_new = decision != self.decision
        if is_new:
            self._publish(decision)
        for row in self.rows:
            row.publish(self._answers, now_ns)
        self._tell(decision.state, now_ns)
        return is_new

    def _publish(self, decision: Decision) -> None:
        """Render and write the consensus answer, then count it."""
        self.answer, self.last = render_consensus(
            self.name, decision, self._exchanges, decision.asked.required, self.last
        )
        self._answers.write(self._row, self.answer)
        self._count(decision)
        if self.decision is None or decision.rejected != self.decision.rejected:
            for row in self.rows:
                row.publish_verdict(self._answers, self.index, decision.rejected.get(row.exchange))
        self.decision = decision

    def _count(self, decision: Decision) -> None:
        block = self._context.block
        if decision.state is AnswerState.GOOD:
            block.count(_UPDATES)
        elif decision.state is AnswerState.SOURCES_DISAGREE and (
            self.decision is None or self.decision.state is not AnswerState.SOURCES_DISAGREE
        ):
            block.count(_DISAGREEMENTS)

    def _tell(self, state: AnswerState, now_ns: int) -> None:
        """A line when the asset comes or goes, seldom while it flaps; at each review, so none stays untold."""
        if self._told.is_news(state, now_ns):
            fields = {"asset": self.name, "state": state.name.lower()}
            self._context.log.info("asset_state", extra={"fields": fields})


class SourceRow:
    """One exchange's row of one asset: the newest quote read, and what was published of it."""

    def __init__(self, context: ProcessContext, answers: AnswerTable, asset: int, listing: Listing) -> None:
        catalog = context.catalog
        self.exchange = listing.exchange
        self._name = catalog.exchanges[listing.exchange]
        self._block = context.block
        self._asset = asset
        self._listing = listing
        self._rules: AssetRules = catalog.assets[asset].rules
        self._labels = Labels(catalog.assets[asset].name, self._name, listing.currency, context.simulated)
        self._row = answers.row_of(asset, listing.exchange)
        self._last: LastGood | None = last_good_of(answers.read(self._row))
        self._verdict = answers.read_verdict(listing.exchange, asset)
        self.quote: StoredQuote | None = None
        self._shown: tuple[StoredQuote | None, str | None, VenuePrice | None] | None = None
        self._is_last_off = False
        self.source = Source(listing.exchange, listing.currency, RowState.UNKNOWN, None)

    def read(self, prices: PriceTable) -> bool:
        """Take the newest quote and state; False when no quote could be read, and the one before then stays."""
        quote, source = gather(prices, self._asset, self._listing, self._rules)
        if quote is None:
            self.source = self.source._replace(state=source.state)
            return False
        self.quote, self.source = quote, source
        self._count_last(source.venue)
        return True

    def publish(self, answers: AnswerTable, now_ns: int) -> None:
        """Render the exchange's own price when its quote or its standing changed."""
        refusal = refusal_of(self.source, now_ns)
        venue = phase_at(self.source.venue, now_ns) if self.source.venue is not None else None
        shown = self._shown
        if shown is not None and shown[0] is self.quote and shown[1] == refusal and shown[2] is venue:
            return
        if self.quote is None or venue is None:
            rendered = render_nothing(AnswerState.EMPTY, self._last)
        else:
            state = AnswerState.GOOD if refusal is None else AnswerState.STALE
            rendered = render_venue(self._labels, self.quote.via, venue, state, self._last)
        answers.write(self._row, rendered.record)
        self._last, self._shown = rendered.last, (self.quote, refusal, venue)

    def _count_last(self, venue: VenuePrice | None) -> None:
        """A last price that went far outside its own book is counted once, however long it stays there."""
        is_off = venue is not None and ("last", LAST_OFF_BOOK) in venue.left_out
        if is_off and not self._is_last_off:
            self._block.count(CONSENSUS.index("oracle_price_rejected_total", self._name, LAST_OFF_BOOK))
        self._is_last_off = is_off

    def publish_verdict(self, answers: AnswerTable, asset: int, reason: str | None) -> None:
        """Say what became of the source; a reason that is new is counted."""
        verdict = VERDICT_USED if reason is None else _VERDICT_OF[reason]
        if verdict == self._verdict:
            return
        answers.write_verdict(self.exchange, asset, verdict)
        self._verdict = verdict
        if reason is not None:
            self._block.count(CONSENSUS.index("oracle_price_rejected_total", self._name, reason))
