"""Why is the price what it is? An account of a running node's asset now, of a recorded moment, and as text.

    explain_now      a running node's tables, read once
    explain_moment   a recording: the last checkpoint before the moment, and the turns up to it
    text_of          pure: the account as `trinity explain BTC` prints it, one block a step

Rules: nothing is decided here: the very functions of the consensus process are run, and what they returned is written
down. Hold-outs and the last price have a history that the tables do not keep, so for now they are taken from the
running node's verdicts and answers; a recording has them.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from feeds.audit.account import Case, DecisionAccount, IndexAccount, RawQuote, RawSide, SourceAccount, account_of
from feeds.audit.moments import case_at
from feeds.consensus.decimals.independence import faulty_of
from feeds.consensus.decimals.inputs import Gathered, gather, listings_of, live_exchanges, recall, recall_coins
from feeds.consensus.decimals.render import price_text
from feeds.consensus.decimals.rules import Source, evaluate
from feeds.consensus.decimals.stablecoins import follow, required_of, usable
from trinity.clock import NS_PER_SECOND, Clock
from trinity.limits import BACKED_WINDOW_BPS, JUMP_HOLD_NS, LEG_WINDOW_BPS, REENTRY_NS
from trinity.markets import AssetRules, Catalog
from trinity.memory.answer_table import COINS, AnswerTable, served_state
from trinity.memory.price_table import PriceTable

# Digits that are worth reading: those of the finest quote seen on the six exchanges.
_DIGITS_SHOWN = 12


def explain_now(
    prices: PriceTable, answers: AnswerTable, catalog: Catalog, asset: int, clock: Clock
) -> DecisionAccount:
    """The asset (index in the catalog) now; the clock is read behind the tables, so that no quote is from later."""
    known = catalog.assets[asset]
    market = {
        each.name: [gather(prices, index, listing, each.rules) for listing in listings_of(catalog, index)]
        for index, each in enumerate(catalog.assets)
    }
    carried, held = recall(answers, asset, listings_of(catalog, asset)), recall_coins(answers)
    record = answers.read(answers.row_of(asset))
    monotonic_ns, wall_ns = clock.monotonic_ns(), clock.wall_ns()
    live = live_exchanges(_rows_of(market, catalog), monotonic_ns, len(catalog.exchanges))
    faulty = faulty_of(len(live))
    usdt, usdc = ([row.source for row in market.get(coin, ())] for coin in COINS)
    indexes, _ = follow(usdt, usdc, faulty, held, monotonic_ns)
    rows, required = market[known.name], required_of(known.name, known.rules.min_sources, faulty)
    decision, _ = evaluate(
        [row.source for row in rows], known.rules, usable(indexes), carried, monotonic_ns, faulty, required
    )
    published = served_state(record, monotonic_ns)
    case = Case(
        known,
        catalog.exchanges,
        rows,
        live,
        indexes,
        carried,
        decision,
        published,
        monotonic_ns,
        wall_ns,
    )
    return account_of(case)


def explain_moment(data_dir: Path, asset: str, wall_ns: int) -> DecisionAccount:
    """The asset at a past moment; AbsentError when it was not recorded, RecordingError when that is damaged."""
    return account_of(case_at(data_dir, asset, wall_ns))


def text_of(account: DecisionAccount) -> str:
    """The whole text, one block a step."""
    blocks = (
        _title,
        _market,
        _venue_prices,
        _freshness,
        _conversion,
        _enough,
        _majority,
        _cut,
        _hold_outs,
        _price,
        _jump,
        _end,
    )
    return "\n".join(line for block in blocks for line in block(account)) + "\n"


def _title(account: DecisionAccount) -> list[str]:
    rules = account.rules
    told = (
        f"rules: max_age {rules.max_age_ms} ms, min_sources {rules.min_sources}, "
        f"majority_window {rules.majority_window_bps} bps, outlier_floor {rules.outlier_floor_bps} bps, "
        f"max_spread {rules.max_spread_bps} bps"
    )
    return [f"{account.asset} at {account.at.isoformat(timespec='milliseconds')}", told]


def _venue_prices(account: DecisionAccount) -> list[str]:
    lines = ["1 venue price: median of bid, ask and last; half width = half the spread, at least a tick"]
    for source in account.sources:
        name = f"  {source.exchange:<10} {source.currency:<5}"
        quote = source.quote
        if quote is None:
            lines.append(f"{name}no quote yet")
            continue
        raw = ", ".join(
            f"{what} {price_text(side.price)}" + (f" ({side.left_out})" if side.left_out is not None else "")
            for what, side in _sides_of(quote)
        )
        if source.venue_price is None or source.half_width is None:
            verdict = f"refused: {source.refusal}"
        else:
            verdict = f"{_shown(source.venue_price)} +- {_shown(source.half_width)}"
        lines.append(f"{name}{raw} (by {quote.via}) -> {verdict}")
    return lines


def _freshness(account: DecisionAccount) -> list[str]:
    lines = ["2 freshness: age of each side by receipt, and by the exchange's own time"]
    for source in account.sources:
        quote = source.quote
        if quote is None:
            continue
        state = f"row {source.row_state} -> {source.freshness}"
        lines.append(f"  {source.exchange:<10} {_ages(quote)}, {state}")
    return lines


def _market(account: DecisionAccount) -> list[str]:
    market = account.market
    names = ", ".join(market.live) or "none"
    return [f"0 market: {len(market.live)} live exchanges ({names}), of which {market.faulty} may lie together"]


def _ages(quote: RawQuote) -> str:
    """The sides with the same age are told together; those of one frame are."""
    names: dict[str, list[str]] = {}
    for what, side in _sides_of(quote):
        own = "no exchange time" if side.exchange_age_ms is None else f"{side.exchange_age_ms:.1f} ms by its own time"
        names.setdefault(f"{side.age_ms:.1f} ms, {own}", []).append(what)
    if len(names) == 1:
        return next(iter(names))
    return "; ".join(f"{' and '.join(whats)} {age}" for age, whats in names.items()) or "no price"


def _sides_of(quote: RawQuote) -> list[tuple[str, RawSide]]:
    named = (("bid", quote.bid), ("ask", quote.ask), ("last", quote.last))
    return [(what, side) for what, side in named if side is not None]


def _conversion(account: DecisionAccount) -> list[str]:
    if not account.indexes:
        return ["3 conversion: none needed, all quotes are in USD"]
    lines = [f"3 conversion: by legs within {LEG_WINDOW_BPS} bps that rest on more exchanges than may lie"]
    for index in account.indexes:
        told = ", ".join(f"{leg.source} {_shown(leg.usd)}" for leg in index.legs) or "no leg"
        lines.append(f"  {index.coin}/USD {_index_value(index)} from {told}")
        agreeing = ", ".join(leg.source for leg in index.legs if leg.agrees) or "no leg"
        lines.append(
            f"    the largest set, {agreeing}, is touched by {index.exchanges} exchanges at least, "
            f"{index.exchanges_needed} needed -> {index.state}"
        )
    for source in _voters(account):
        if source.converted and source.venue_price is not None and source.usd_price is not None:
            prices = f"{_shown(source.venue_price)} -> {_shown(source.usd_price)} USD"
            lines.append(f"  {source.exchange:<10} {prices}")
    return lines


def _index_value(index: IndexAccount) -> str:
    return _shown(index.usd) if index.usd is not None else "refused"


def _enough(account: DecisionAccount) -> list[str]:
    n, least = len(account.votes), account.required
    lost = [name for name, reason in account.left_out.items() if reason not in ("outlier", "held_out")]
    without = f" (without {', '.join(lost)})" if lost else ""
    return [f"4 enough sources: {n}{without}, at least {least} needed -> {'yes' if n >= least else 'no'}"]


def _majority(account: DecisionAccount) -> list[str]:
    majority = account.majority
    if majority is None:
        return []
    needed = f"{majority.needed} of {majority.of}"
    if majority.low is None or majority.high is None or majority.width_bps is None:
        verdict = f"no {needed} within {account.rules.majority_window_bps} bps: "
        verdict += f"they are {_shown(majority.spread_bps)} bps apart"
    else:
        verdict = f"{needed} within {_shown(majority.width_bps)} bps: "
        verdict += f"{_shown(majority.low)} to {_shown(majority.high)}"
    return [f"5 majority of the fresh, convertible or not: {_told(_voters(account))}", f"  -> {verdict}"]


def _cut(account: DecisionAccount) -> list[str]:
    cut = account.cut
    if cut is None:
        return []
    return [
        f"6 robust cut: median {_shown(cut.median)}, MAD {_shown(cut.mad)}, limit {_shown(cut.limit)}",
        f"  -> {_left_out(account, 'outlier')} left out",
    ]


def _hold_outs(account: DecisionAccount) -> list[str]:
    if account.cut is None:
        return []
    return [
        f"7 hold-out: back after {REENTRY_NS // NS_PER_SECOND} s within half the limit, as the node has it",
        f"  -> {_left_out(account, 'held_out')} held out",
    ]


def _price(account: DecisionAccount) -> list[str]:
    found = account.price_found
    if found is None:
        refused = f"8 price: refused, no {account.market.faulty + 1} of the kept lie around their median "
        return [refused + f"within {BACKED_WINDOW_BPS} bps"] if account.is_unbacked else []
    kept = [source for source in _voters(account) if source.exchange not in account.left_out]
    confidence = f", confidence {price_text(found.confidence)}" if found.confidence is not None else ""
    price = f"{price_text(found.price)}{confidence}, all sources within {_shown(found.disagreement_bps)} bps"
    age = f"as old as the oldest of {', '.join(found.median_of)}"
    return [f"8 price: median of {_told(kept)}", f"  -> {price}, {age}"]


def _jump(account: DecisionAccount) -> list[str]:
    jump = account.jump
    if jump is None:
        return []
    if jump.last_price is None or jump.change_percent is None:
        return ["9 jump guard: no last price to compare with"]
    verdict = "passes" if jump.passed else f"held, at most {JUMP_HOLD_NS // NS_PER_SECOND} s"
    change = f"{_shown(jump.change_percent)} % against the last {_shown(jump.last_price)}"
    return [f"9 jump guard: {change}, limit {jump.limit_percent} % -> {verdict}"]


def _end(account: DecisionAccount) -> list[str]:
    result = account.state
    if account.price is not None:
        left = f"{account.age_ms:.1f} ms old, good for another {account.good_for_ms:.1f} ms"
        result = f"{price_text(account.price)} USD from {len(account.used)} sources, {left}"
    why = "; ".join(f"{name}: {reason}" for name, reason in account.left_out.items())
    lines = [f"result: {result}", f"the node serves it as: {account.served_as}"]
    return [*lines, f"left out: {why}"] if why else lines


def _voters(account: DecisionAccount) -> list[SourceAccount]:
    """The sources that voted, in the order of their prices."""
    by_name = {source.exchange: source for source in account.sources}
    return [by_name[name] for name in account.votes]


def _told(voters: list[SourceAccount]) -> str:
    return ", ".join(f"{voter.exchange} {_shown(voter.usd_price)}" for voter in voters if voter.usd_price is not None)


def _left_out(account: DecisionAccount, why: str) -> str:
    return ", ".join(name for name, reason in account.left_out.items() if reason == why) or "nobody"


def _rows_of(market: Mapping[str, Sequence[Gathered]], catalog: Catalog) -> Iterator[tuple[Source, AssetRules]]:
    for asset in catalog.assets:
        for row in market[asset.name]:
            yield row.source, asset.rules


def _shown(number: Decimal) -> str:
    """Plain digits, rounded to those worth reading."""
    places = max(0, min(_DIGITS_SHOWN, _DIGITS_SHOWN - 1 - number.adjusted()))
    return price_text(round(number, places))
