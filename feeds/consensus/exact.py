"""An asset whose numbers do not fit the compiled arithmetic, decided in decimals. The rules are the same.

That is one with prices that need more than 18 digits at a common scale, or a coin worth more than two dollars: no
exchange has ever sent such, a broken or lying one may. It takes some 0.3 ms instead of 2 us.
"""

from collections.abc import Mapping
from decimal import Decimal

from feeds.consensus.decimals.inputs import exchange_names
from feeds.consensus.decimals.render import (
    Labels,
    Rendered,
    last_good_of,
    render_consensus,
    render_nothing,
    render_venue,
)
from feeds.consensus.decimals.rules import Decision, Source, evaluate, refusal_of
from feeds.consensus.decimals.stablecoins import required_of
from feeds.consensus.decimals.venue import phase_at
from feeds.consensus.integers.arrays import (
    COUNT_DISAGREEMENTS,
    COUNT_REJECTED,
    COUNT_UPDATES,
    ENDLESS_NS,
    NEVER,
    ROWS,
    VERDICT_OF,
    VERDICTS,
    set_carried,
)
from feeds.consensus.state import MarketState
from trinity.memory.answer_table import VERDICT_USED, AnswerState


def review_exactly(
    market: MarketState, asset: int, indexes: Mapping[str, Decimal], faulty: int, now_ns: int, *, simulated: bool
) -> bool:
    """Decide the asset at `now_ns` (monotonic) and publish it; True when it is another than before."""
    known, record = market.assets[asset], market.record(asset)
    sources = market.sources(asset)
    required = required_of(known.name, known.rules.min_sources, faulty)
    decision, carried = evaluate(sources, known.rules, indexes, market.carried(asset), now_ns, faulty, required)
    set_carried(record, carried)
    before = record["state"]
    is_new = _publish(market, asset, decision, simulated=simulated)
    counts = market.arrays.state["counts"]
    if is_new:
        counts[COUNT_UPDATES] += decision.state is AnswerState.GOOD
        counts[COUNT_DISAGREEMENTS] += decision.state is AnswerState.SOURCES_DISAGREE and before != decision.state
    for source in sources:
        reason = decision.rejected.get(source.exchange)
        verdict = VERDICT_USED if reason is None else VERDICT_OF[reason]
        record["verdicts"][source.exchange] = verdict
        if verdict != market.answers.read_verdict(source.exchange, asset):
            market.answers.write_verdict(source.exchange, asset, verdict)
            is_new = True
            counts[COUNT_REJECTED + source.exchange * VERDICTS + verdict] += reason is not None
        _publish_venue(market, asset, source, now_ns, simulated=simulated)
    _keep(market, asset, decision)
    return is_new


def _publish(market: MarketState, asset: int, decision: Decision, *, simulated: bool) -> bool:
    row = market.answers.row_of(asset)
    names = exchange_names(market.catalog, simulated)
    last = market.last_good(asset)
    rendered = render_consensus(market.assets[asset].name, decision, names, decision.asked.required, last)
    return _write_if_new(market, row, rendered)


def _publish_venue(market: MarketState, asset: int, source: Source, now_ns: int, *, simulated: bool) -> None:
    """An exchange's own price; it is rendered each time, so the compiled code must not take it for its own."""
    row = market.answers.row_of(asset, source.exchange)
    last = last_good_of(market.answers.read(row))
    quote = market.quote(asset, source.exchange)
    if quote is None or source.venue is None:
        rendered = render_nothing(AnswerState.EMPTY, last)
    else:
        state = AnswerState.GOOD if refusal_of(source, now_ns) is None else AnswerState.STALE
        name = market.catalog.exchanges[source.exchange]
        labels = Labels(market.assets[asset].name, name, source.currency, simulated)
        rendered = render_venue(labels, quote.via, phase_at(source.venue, now_ns), state, last)
    _write_if_new(market, row, rendered)
    market.arrays.state["rows"][asset * ROWS + source.exchange]["shown_verdict"] = NEVER


def _write_if_new(market: MarketState, row: int, rendered: Rendered) -> bool:
    before = market.answers.read(row)
    is_new = before is None or before.tobytes() != rendered.record.tobytes()
    if is_new:
        market.answers.write(row, rendered.record)
    return is_new


def _keep(market: MarketState, asset: int, decision: Decision) -> None:
    """What came out, where the compiled code would have written it."""
    record = market.record(asset)
    is_good = decision.price is not None and decision.confidence is not None
    record["state"], record["used"] = decision.state, sum(1 << exchange for exchange in decision.used)
    record["places"] = decision.digits if is_good else 0
    record["price"] = int(decision.price.scaleb(decision.digits)) if decision.price is not None else 0
    record["confidence"] = int(decision.confidence.scaleb(decision.digits)) if decision.confidence is not None else 0
    record["valid_until_ns"] = decision.valid_until_ns
    record["ends_at_ns"] = decision.valid_until_ns or ENDLESS_NS
