"""One asset's consensus at one moment as an account: every number of every step, for programs and people. Pure.

Rules: it decides nothing of its own. A `Case` is what the consensus knew at that moment and what its own functions
returned; `account_of` writes it down. Prices are Decimal (text in JSON), exact as the exchanges sent them; what was
computed keeps its digits. A step that was not reached is null.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec

from feeds.consensus.decimals.inputs import Gathered
from feeds.consensus.decimals.robust import BPS
from feeds.consensus.decimals.rules import ConsensusState, Decision, refusal_of, stands_on
from feeds.consensus.decimals.stablecoins import Index
from feeds.consensus.decimals.venue import phase_at
from trinity.clock import NS_PER_MS, NS_PER_US
from trinity.limits import JUMP_PERCENT_MAX
from trinity.markets import Asset, AssetRules
from trinity.memory.answer_table import COINS, AnswerState, standing_of
from trinity.memory.price_table import Side


class Case(NamedTuple):
    """Everything that one account is made from; `published` is the state that the node serves or served."""

    asset: Asset
    exchanges: Sequence[str]
    rows: Sequence[Gathered]
    live: frozenset[int]
    indexes: Mapping[str, Index]
    carried: ConsensusState
    decision: Decision
    published: AnswerState
    monotonic_ns: int
    wall_ns: int


class RawSide(msgspec.Struct, frozen=True):
    """One price as the exchange sent it; ages in milliseconds, `exchange_age_ms` by its own clock.

    `left_out` is why it does not count, null when it does.
    """

    price: Decimal
    received_at: datetime
    age_ms: float
    exchange_age_ms: float | None
    left_out: str | None


class RawQuote(msgspec.Struct, frozen=True):
    """A quote's sides, null where the exchange has none; `via` is how the newest came."""

    bid: RawSide | None
    ask: RawSide | None
    last: RawSide | None
    via: str


class SourceAccount(msgspec.Struct, frozen=True):
    """One exchange: its quote, what steps 1 to 3 made of it, and the verdict of the whole evaluation.

    `venue_price` and `half_width` are in `currency`, `usd_price` is the vote. `freshness` is "fresh" or the reason
    why the quote counts for nothing; `verdict` is "used" or the reason why the source was left out; where no price came
    of the sources that were not, they are "disputed" or "unused".
    """

    exchange: str
    currency: str
    row_state: str
    quote: RawQuote | None
    venue_price: Decimal | None
    half_width: Decimal | None
    refusal: str | None
    freshness: str
    usd_price: Decimal | None
    converted: bool
    verdict: str


class MarketAccount(msgspec.Struct, frozen=True):
    """The exchanges that were heard lately in any market, and how many of them may lie together."""

    live: tuple[str, ...]
    faulty: int


class LegAccount(msgspec.Struct, frozen=True):
    """One observation of a stablecoin and the exchanges that it rests on: one, or the two of a crossed leg, which
    `source` joins by " x "; `agrees`: it is one of the largest set."""

    source: str
    exchanges: tuple[str, ...]
    usd: Decimal
    agrees: bool


class IndexAccount(msgspec.Struct, frozen=True):
    """A stablecoin in USD, null when it is refused; `state` is "measured", "held" or "refused".

    `exchanges` is the smallest number of exchanges that together touch every leg that agrees; an index counts when it
    is at least `exchanges_needed`, one more than may lie.
    """

    coin: str
    usd: Decimal | None
    state: str
    exchanges: int
    exchanges_needed: int
    legs: tuple[LegAccount, ...]


class MajorityAccount(msgspec.Struct, frozen=True):
    """Step 5: the narrowest window that holds `needed` votes, more than half `of` the exchanges with a fresh quote,
    convertible or not; null when it is wider than allowed. `spread_bps` is how far all votes are apart.
    """

    needed: int
    of: int
    spread_bps: Decimal
    low: Decimal | None
    high: Decimal | None
    width_bps: Decimal | None


class CutAccount(msgspec.Struct, frozen=True):
    """Step 6."""

    median: Decimal
    mad: Decimal
    limit: Decimal


class PriceAccount(msgspec.Struct, frozen=True):
    """Step 8: what came out before the jump guard; `median_of` are the exchanges whose age is the price's."""

    price: Decimal
    median_of: tuple[str, ...]
    confidence: Decimal | None
    disagreement_bps: Decimal


class JumpAccount(msgspec.Struct, frozen=True):
    """Step 9: the change against the last price; null when there is none."""

    last_price: Decimal | None
    change_percent: Decimal | None
    limit_percent: int
    passed: bool


class DecisionAccount(msgspec.Struct, frozen=True):
    """The whole account; `votes` are exchanges in the order of their prices, `left_out` are reasons by exchange.

    `is_unbacked`: step 8 refused, because fewer of the kept stood around their median than may lie and one more.
    """

    asset: str
    at: datetime
    rules: AssetRules
    market: MarketAccount
    sources: tuple[SourceAccount, ...]
    indexes: tuple[IndexAccount, ...]
    votes: tuple[str, ...]
    required: int
    majority: MajorityAccount | None
    cut: CutAccount | None
    is_unbacked: bool
    price_found: PriceAccount | None
    jump: JumpAccount | None
    state: str
    price: Decimal | None
    confidence: Decimal | None
    used: tuple[str, ...]
    left_out: dict[str, str]
    age_ms: float | None
    newest_age_ms: float | None
    good_for_ms: float | None
    served_as: str


def account_of(case: Case) -> DecisionAccount:
    """Write a case down."""
    decision, names = case.decision, case.exchanges
    good_for_ns = age_ns = newest_age_ns = None
    if decision.price is not None:
        good_for_ns = decision.valid_until_ns - case.monotonic_ns
        age_ns = case.monotonic_ns - decision.received_at_ns
        newest_age_ns = age_ns + decision.received_wall_ns - decision.newest_received_wall_ns
    return DecisionAccount(
        asset=case.asset.name,
        at=_moment(case.wall_ns),
        rules=case.asset.rules,
        market=MarketAccount(tuple(names[exchange] for exchange in sorted(case.live)), decision.asked.faulty),
        sources=tuple(_source(case, row) for row in case.rows),
        indexes=_indexes(case),
        votes=tuple(names[vote.exchange] for vote in decision.votes),
        required=decision.asked.required,
        majority=_majority(case),
        cut=CutAccount(*decision.cut) if decision.cut is not None else None,
        is_unbacked=_is_unbacked(decision),
        price_found=_price(case),
        jump=_jump(case),
        state=decision.state.name.lower(),
        price=decision.price,
        confidence=decision.confidence,
        used=tuple(names[exchange] for exchange in decision.used) if decision.price is not None else (),
        left_out={names[exchange]: reason for exchange, reason in sorted(decision.rejected.items())},
        age_ms=_ms(age_ns) if age_ns is not None else None,
        newest_age_ms=_ms(newest_age_ns) if newest_age_ns is not None else None,
        good_for_ms=_ms(good_for_ns) if good_for_ns is not None else None,
        served_as=case.published.name.lower(),
    )


def _source(case: Case, row: Gathered) -> SourceAccount:
    quote, source = row
    venue = phase_at(source.venue, case.monotonic_ns) if source.venue is not None else None
    raw = None
    if quote is not None:
        left_out = dict(venue.left_out) if venue is not None else {}
        bid, ask, last = (
            _side(case, side, left_out.get(name))
            for name, side in (("bid", quote.bid), ("ask", quote.ask), ("last", quote.last))
        )
        raw = RawQuote(bid, ask, last, quote.via.name.lower())
    vote = next((vote for vote in case.decision.votes if vote.exchange == source.exchange), None)
    return SourceAccount(
        exchange=case.exchanges[source.exchange],
        currency=source.currency,
        row_state=source.state.name.lower(),
        quote=raw,
        venue_price=venue.price if venue is not None else None,
        half_width=venue.half_width if venue is not None else None,
        refusal=venue.refusal if venue is not None else "no_quote",
        freshness=refusal_of(source, case.monotonic_ns) or "fresh",
        usd_price=vote.price if vote is not None else None,
        converted=vote.converted if vote is not None else False,
        verdict=case.decision.rejected.get(source.exchange, standing_of(case.decision.state)),
    )


def _side(case: Case, side: Side | None, left_out: str | None) -> RawSide | None:
    if side is None:
        return None
    age_ns = case.monotonic_ns - side.received_at_ns
    behind_ns = side.received_wall_ns - side.exchange_time_ns if side.exchange_time_ns is not None else None
    own_ms = _ms(age_ns + behind_ns) if behind_ns is not None else None
    return RawSide(side.price, _moment(side.received_wall_ns), _ms(age_ns), own_ms, left_out)


def _indexes(case: Case) -> tuple[IndexAccount, ...]:
    """The coins that the asset is quoted in, and the asset itself when it is one."""
    coins = {row.source.currency for row in case.rows} | {case.asset.name}
    return tuple(_index(case, coin) for coin in COINS if coin in coins)


def _index(case: Case, coin: str) -> IndexAccount:
    usd, state, measured = case.indexes[coin]
    legs = []
    for leg in measured.legs:
        names = tuple(case.exchanges[exchange] for exchange in leg.exchanges)
        legs.append(LegAccount(" x ".join(names), names, leg.usd, leg in measured.agreeing))
    return IndexAccount(coin, usd, state, measured.independent, measured.needed, tuple(legs))


def _majority(case: Case) -> MajorityAccount | None:
    decision = case.decision
    asked, window = decision.asked, decision.window
    if len(decision.votes) < asked.required:
        return None
    spread_bps = _apart_bps(decision)
    if window is None:
        return MajorityAccount(asked.needed, asked.fresh, spread_bps, None, None, None)
    low, high = window
    return MajorityAccount(asked.needed, asked.fresh, spread_bps, low, high, (high - low) / low * BPS)


def _is_unbacked(decision: Decision) -> bool:
    return decision.cut is not None and decision.state is AnswerState.SOURCES_DISAGREE and decision.candidate is None


def _price(case: Case) -> PriceAccount | None:
    decision = case.decision
    if decision.candidate is None:
        return None
    kept = [vote for vote in decision.votes if vote.exchange in decision.used]
    median_of = tuple(case.exchanges[vote.exchange] for vote in stands_on(kept))
    return PriceAccount(decision.candidate, median_of, decision.confidence, _apart_bps(decision))


def _apart_bps(decision: Decision) -> Decimal:
    return Decimal(decision.disagreement_milli_bps).scaleb(-3)


def _jump(case: Case) -> JumpAccount | None:
    candidate, last = case.decision.candidate, case.carried.last_price
    if candidate is None:
        return None
    percent = (candidate - last) * 100 / last if last is not None else None
    return JumpAccount(last, percent, JUMP_PERCENT_MAX, case.decision.price is not None)


def _moment(wall_ns: int) -> datetime:
    """To the microsecond, which is all that a datetime holds."""
    seconds, rest_us = divmod(wall_ns // NS_PER_US, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest_us)


def _ms(span_ns: int) -> float:
    return span_ns / NS_PER_MS
