"""Every step of one asset's consensus as text, with its numbers: what `trinity explain BTC` prints.

Rules: it decides nothing of its own. `explain` reads a running node's tables once, runs the very functions that the
consensus process runs, and writes down what they returned. Hold-outs and the last price have a history that the
tables do not keep, so they are taken from the running node's verdicts and answers. `explain_text` is pure.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from feeds.consensus import USD, Decision, Memory, Source, evaluate, refusal_of
from feeds.gather import Gathered, gather, listings_of, recall
from feeds.peg import COINS, LEGS_MIN, Index, Leg, measure, usable
from feeds.render import price_text
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.limits import JUMP_HOLD_NS, JUMP_PERCENT_MAX, LEG_WINDOW_BPS, REENTRY_NS
from trinity.markets import Asset, Catalog
from trinity.memory.answer_table import AnswerState, AnswerTable
from trinity.memory.price_table import PriceTable

# Digits that are worth reading: those of the finest quote seen on the six exchanges.
_DIGITS_SHOWN = 12


class Case(NamedTuple):
    """Everything that one explanation is made from; `published` is the state that the running node serves."""

    asset: Asset
    exchanges: Sequence[str]
    rows: Sequence[Gathered]
    measured: Mapping[str, Index]
    memory: Memory
    decision: Decision
    published: AnswerState
    monotonic_ns: int
    wall_ns: int


def explain(
    prices: PriceTable, answers: AnswerTable, catalog: Catalog, asset: int, monotonic_ns: int, wall_ns: int
) -> str:
    """Explain the asset (index in the catalog) from a running node's tables, as of the two clock readings."""
    listings = listings_of(catalog, asset)
    rules = catalog.assets[asset].rules
    rows = [gather(prices, asset, listing, rules) for listing in listings]
    measured = measure(_coin_sources(prices, catalog, COINS[0]), _coin_sources(prices, catalog, COINS[1]), monotonic_ns)
    memory = recall(answers, asset, listings)
    decision, _ = evaluate([row.source for row in rows], rules, usable(measured), memory, monotonic_ns)
    record = answers.read(answers.row_of(asset))
    published = AnswerState(int(record["state"][0])) if record is not None else AnswerState.EMPTY
    if published is AnswerState.GOOD and record is not None and monotonic_ns >= int(record["valid_until_ns"][0]):
        published = AnswerState.STALE
    case = Case(
        catalog.assets[asset],
        catalog.exchanges,
        rows,
        measured,
        memory,
        decision,
        published,
        monotonic_ns,
        wall_ns,
    )
    return explain_text(case)


def explain_text(case: Case) -> str:
    """The whole text, one block a step."""
    blocks = (_title, _venue_prices, _freshness, _conversion, _enough, _majority, _cut, _hold_outs, _price, _jump, _end)
    return "\n".join(line for block in blocks for line in block(case)) + "\n"


def _title(case: Case) -> list[str]:
    rules = case.asset.rules
    moment = datetime.fromtimestamp(case.wall_ns / NS_PER_SECOND, UTC).isoformat(timespec="milliseconds")
    told = (
        f"rules: max_age {rules.max_age_ms} ms, min_sources {rules.min_sources}, "
        f"majority_window {rules.majority_window_bps} bps, outlier_floor {rules.outlier_floor_bps} bps, "
        f"max_spread {rules.max_spread_bps} bps"
    )
    return [f"{case.asset.name} at {moment}", told]


def _venue_prices(case: Case) -> list[str]:
    lines = ["1 venue price: median of bid, ask and last; half width = half the spread, at least a tick"]
    for quote, source in case.rows:
        name = f"  {case.exchanges[source.exchange]:<10} {source.currency:<5}"
        if quote is None or source.venue is None:
            lines.append(f"{name}no quote yet")
            continue
        raw = ", ".join(
            f"{what} {price_text(price)}"
            for what, price in (("bid", quote.bid), ("ask", quote.ask), ("last", quote.last))
            if price is not None
        )
        venue = source.venue
        if venue.price is None or venue.half_width is None:
            verdict = f"refused: {venue.refusal}"
        else:
            verdict = f"{_shown(venue.price)} +- {_shown(venue.half_width)}"
        lines.append(f"{name}{raw} (by {quote.via.name.lower()}) -> {verdict}")
    return lines


def _freshness(case: Case) -> list[str]:
    lines = ["2 freshness: age by receipt, and by the exchange's own time"]
    for quote, source in case.rows:
        if quote is None:
            continue
        age_ns = case.monotonic_ns - quote.received_at_ns
        own = "no exchange time"
        if quote.exchange_time_ns is not None:
            own = f"{_ms(age_ns + quote.received_wall_ns - quote.exchange_time_ns)} by its own time"
        verdict = refusal_of(source, case.monotonic_ns) or "fresh"
        name = case.exchanges[source.exchange]
        lines.append(f"  {name:<10} {_ms(age_ns)}, {own}, row {source.state.name.lower()} -> {verdict}")
    return lines


def _conversion(case: Case) -> list[str]:
    currencies = {row.source.currency for row in case.rows} - {USD}
    if not currencies:
        return ["3 conversion: none needed, all quotes are in USD"]
    lines = [f"3 conversion: median of at least {LEGS_MIN} legs, a majority of them within {LEG_WINDOW_BPS} bps"]
    for coin in sorted(currencies):
        usd, legs = case.measured[coin]
        told = ", ".join(f"{_leg_name(leg, case.exchanges)} {_shown(leg.usd)}" for leg in legs) or "no leg"
        lines.append(f"  {coin}/USD {_shown(usd) if usd is not None else 'not measured'} from {told}")
    for vote in case.decision.votes:
        if vote.converted:
            assert vote.venue.price is not None
            lines.append(
                f"  {case.exchanges[vote.exchange]:<10} {_shown(vote.venue.price)} -> {_shown(vote.price)} USD"
            )
    return lines


def _enough(case: Case) -> list[str]:
    n, least = len(case.decision.votes), case.asset.rules.min_sources
    lost = [name for name, reason in _rejected(case) if reason not in ("outlier", "held_out")]
    without = f" (without {', '.join(lost)})" if lost else ""
    return [f"4 enough sources: {n}{without}, at least {least} needed -> {'yes' if n >= least else 'no'}"]


def _majority(case: Case) -> list[str]:
    votes, window = case.decision.votes, case.decision.window
    if len(votes) < case.asset.rules.min_sources:
        return []
    sorted_votes = ", ".join(f"{case.exchanges[vote.exchange]} {_shown(vote.price)}" for vote in votes)
    if window is None:
        verdict = f"no {len(votes) // 2 + 1} of them within {case.asset.rules.majority_window_bps} bps"
    else:
        low, high = window
        verdict = f"{len(votes) // 2 + 1} of them within {_shown((high - low) / low * 10_000)} bps: "
        verdict += f"{_shown(low)} to {_shown(high)}"
    return [f"5 majority: {sorted_votes}", f"  -> {verdict}"]


def _cut(case: Case) -> list[str]:
    cut = case.decision.cut
    if cut is None:
        return []
    outliers = [name for name, reason in _rejected(case) if reason == "outlier"]
    return [
        f"6 robust cut: median {_shown(cut.middle)}, MAD {_shown(cut.mad)}, limit {_shown(cut.limit)}",
        f"  -> {', '.join(outliers) or 'nobody'} left out",
    ]


def _hold_outs(case: Case) -> list[str]:
    if case.decision.cut is None:
        return []
    held = [name for name, reason in _rejected(case) if reason == "held_out"]
    return [
        f"7 hold-out: back after {REENTRY_NS // NS_PER_SECOND} s within half the limit, as the running node has it",
        f"  -> {', '.join(held) or 'nobody'} held out",
    ]


def _price(case: Case) -> list[str]:
    decision = case.decision
    if decision.candidate is None:
        return []
    kept = ", ".join(
        f"{case.exchanges[vote.exchange]} {_shown(vote.price)}"
        for vote in decision.votes
        if vote.exchange in decision.used
    )
    confidence = f", confidence {price_text(decision.confidence)}" if decision.confidence is not None else ""
    apart = _shown(Decimal(decision.disagreement_milli_bps).scaleb(-3))
    price = f"{price_text(decision.candidate)}{confidence}, all sources within {apart} bps"
    return [f"8 price: median of {kept}", f"  -> {price}"]


def _jump(case: Case) -> list[str]:
    candidate, last = case.decision.candidate, case.memory.last_price
    if candidate is None:
        return []
    if last is None:
        return ["9 jump guard: no last price to compare with"]
    percent = _shown((candidate - last) * 100 / last)
    verdict = "passes" if case.decision.price is not None else f"held, at most {JUMP_HOLD_NS // NS_PER_SECOND} s"
    return [f"9 jump guard: {percent} % against the last {_shown(last)}, limit {JUMP_PERCENT_MAX} % -> {verdict}"]


def _end(case: Case) -> list[str]:
    decision = case.decision
    result = decision.state.name.lower()
    if decision.price is not None:
        left = _ms(decision.valid_until_ns - case.monotonic_ns)
        result = f"{price_text(decision.price)} USD from {len(decision.used)} sources, good for another {left}"
    why = "; ".join(f"{name}: {reason}" for name, reason in _rejected(case))
    lines = [f"result: {result}", f"the running node serves it as: {case.published.name.lower()}"]
    return [*lines, f"left out: {why}"] if why else lines


def _rejected(case: Case) -> list[tuple[str, str]]:
    return [(case.exchanges[exchange], reason) for exchange, reason in sorted(case.decision.rejected.items())]


def _coin_sources(prices: PriceTable, catalog: Catalog, coin: str) -> list[Source]:
    names = [asset.name for asset in catalog.assets]
    if coin not in names:
        return []
    index = names.index(coin)
    rules = catalog.assets[index].rules
    return [gather(prices, index, listing, rules).source for listing in listings_of(catalog, index)]


def _leg_name(leg: Leg, exchanges: Sequence[str]) -> str:
    return exchanges[leg.exchange] if leg.exchange is not None else "crossed"


def _shown(number: Decimal) -> str:
    """Plain digits, rounded to those worth reading."""
    places = max(0, min(_DIGITS_SHOWN, _DIGITS_SHOWN - 1 - number.adjusted()))
    return price_text(round(number, places))


def _ms(span_ns: int) -> str:
    return f"{span_ns / NS_PER_MS:.1f} ms"
