"""USDT/USD and USDC/USD as measured, never as assumed, and how long a coin has been off its peg. Pure.

A leg is one observation of the coin in USD, and names the exchanges that it rests on:

    direct    an exchange's own COIN/USD: that exchange
    crossed   an exchange's USDC/USDT, turned into USD by another's direct leg of the other coin: both

The legs that agree within a window count when more exchanges than may lie would have to lie together to have touched
all of them (independence.py); two such sets that disagree cannot both be there while no more lie. The index is
the median of the set's direct legs and one crossed leg, the median of the set's: all of these hang on the same other
coin, and many weigh no more than one. Legs are taken from raw quotes only, never from a consensus price, so neither
coin waits for the other and no order of evaluation matters.

Without such a set the last index is held while more of what is measured stands by it than against it, for
INDEX_HOLD_NS at most; then there is none, and the consensus leaves the quotes in that coin out. A jump that not all
legs show waits as a price's does (step 9), and meanwhile there is no index: an old one would be wrong.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from feeds.consensus.decimals.independence import independent
from feeds.consensus.decimals.robust import BPS, median
from feeds.consensus.decimals.rules import USD, Source, admit
from trinity.limits import (
    DEPEG_PAGE_BPS,
    DEPEG_WARN_BPS,
    DEPEG_WARN_NS,
    INDEX_HOLD_NS,
    JUMP_HOLD_NS,
    JUMP_PERCENT_MAX,
    LEG_WINDOW_BPS,
)
from trinity.memory.answer_table import COINS

USDT, USDC = COINS
# However few exchanges are live, one alone makes no index.
INDEPENDENT_MIN = 2
# 12 digits are a hundred times finer than the finest leg, and keep a converted price within Decimal's 28.
INDEX_QUANTUM = Decimal("1e-12")
PERCENT = Decimal(100)


class Leg(NamedTuple):
    """One observation of a coin in USD, and the exchanges that it rests on: the direct one, or for a crossed leg the
    one that trades USDC/USDT and the one that the other coin's USD comes from."""

    exchanges: tuple[int, ...]
    usd: Decimal

    @property
    def mask(self) -> int:
        return sum(1 << exchange for exchange in self.exchanges)


class Measured(NamedTuple):
    """What the legs (in order of their value) say now: `usd` is None when no set of them counts.

    `agreeing` is the set that is touched by the most exchanges at least, `independent` that number, `needed` what it
    must reach.
    """

    usd: Decimal | None
    legs: tuple[Leg, ...]
    agreeing: tuple[Leg, ...]
    independent: int
    needed: int


class Held(NamedTuple):
    """What a coin carries from turn to turn: the last index that counted, when (monotonic), and since when another
    one that jumped away from it waits."""

    usd: Decimal | None = None
    measured_at_ns: int = 0
    jump_since_ns: int | None = None


class Index(NamedTuple):
    """USD per coin as the consensus may use it, None when it is refused, and what it was measured from.

    `state` is "measured", "held" or "refused".
    """

    usd: Decimal | None
    state: str
    measured: Measured


class Peg(NamedTuple):
    """How far a coin is off: level 0 at par, 1 worth a warning, 2 worth a page; off since when (monotonic)."""

    level: int = 0
    off_since_ns: int | None = None


def follow(
    usdt: Sequence[Source], usdc: Sequence[Source], faulty: int, held: Mapping[str, Held], now_ns: int
) -> tuple[dict[str, Index], dict[str, Held]]:
    """Both indexes at `now_ns` (monotonic), and what the next turn needs; `faulty` exchanges may lie."""
    indexes, after = {}, {}
    for coin, measured in measure(usdt, usdc, faulty, now_ns).items():
        indexes[coin], after[coin] = settle(measured, held.get(coin, Held()), now_ns)
    return indexes, after


def measure(usdt: Sequence[Source], usdc: Sequence[Source], faulty: int, now_ns: int) -> dict[str, Measured]:
    """What the sources of the assets USDT and USDC say of both coins at `now_ns` (monotonic)."""
    direct_usdt = _fresh(usdt, USD, now_ns)
    direct_usdc = _fresh(usdc, USD, now_ns)
    between = _fresh(usdc, USDT, now_ns)
    crossed_usdt = [_crossed(pair, other, other.usd / pair.usd) for pair in between for other in direct_usdc]
    crossed_usdc = [_crossed(pair, other, other.usd * pair.usd) for pair in between for other in direct_usdt]
    needed = max(INDEPENDENT_MIN, faulty + 1)
    return {USDT: _agreed(direct_usdt + crossed_usdt, needed), USDC: _agreed(direct_usdc + crossed_usdc, needed)}


def settle(measured: Measured, before: Held, now_ns: int) -> tuple[Index, Held]:
    """Whether the coin's index is what was measured now, what was measured last, or none."""
    usd, last = measured.usd, before.usd
    after = before._replace(jump_since_ns=None)
    if usd is not None:
        is_jump = last is not None and abs(usd - last) * PERCENT > last * JUMP_PERCENT_MAX
        since_ns = now_ns if before.jump_since_ns is None else before.jump_since_ns
        if not is_jump or len(measured.agreeing) == len(measured.legs) or now_ns - since_ns >= JUMP_HOLD_NS:
            return Index(usd, "measured", measured), Held(usd, now_ns)
        after = before._replace(jump_since_ns=since_ns)
    if last is not None and now_ns - before.measured_at_ns <= INDEX_HOLD_NS and _stands(last, measured.legs):
        return Index(last, "held", measured), after
    return Index(None, "refused", measured), after


def usable(indexes: Mapping[str, Index]) -> dict[str, Decimal]:
    """The indexes that exist, as the consensus wants them."""
    return {coin: index.usd for coin, index in indexes.items() if index.usd is not None}


def required_of(asset: str, min_sources: int, faulty: int) -> int:
    """How many sources an asset's price needs: a coin's more than may lie, whatever its rules say."""
    return max(min_sources, faulty + 1) if asset in COINS else min_sources


def watch(usd: Decimal | None, before: Peg, now_ns: int) -> Peg:
    """The peg after a new index; without one nothing is known, so nothing changes. A warning lasts until par."""
    if usd is None:
        return before
    off_bps = abs(usd - 1) * BPS
    if off_bps <= DEPEG_WARN_BPS:
        return Peg()
    since_ns = now_ns if before.off_since_ns is None else before.off_since_ns
    if off_bps > DEPEG_PAGE_BPS:
        return Peg(2, since_ns)
    return Peg(1 if before.level or now_ns - since_ns >= DEPEG_WARN_NS else 0, since_ns)


def _fresh(sources: Sequence[Source], currency: str, now_ns: int) -> list[Leg]:
    """What each exchange that quotes the coin in `currency` says now, unconverted."""
    par = {currency: Decimal(1)}
    votes = (admit(source, par, now_ns)[0] for source in sources if source.currency == currency)
    return [Leg((vote.exchange,), vote.price) for vote in votes if vote is not None]


def _crossed(pair: Leg, other: Leg, usd: Decimal) -> Leg:
    return Leg(tuple(sorted({*pair.exchanges, *other.exchanges})), usd.quantize(INDEX_QUANTUM))


def _agreed(legs: Sequence[Leg], needed: int) -> Measured:
    """The largest set of legs within the window, by the exchanges behind it, then by legs; the narrowest of equals."""
    ordered = tuple(sorted(legs, key=lambda leg: (leg.usd, leg.exchanges)))
    best: tuple[Leg, ...] = ()
    rank: tuple[int, int, Decimal] = (0, 0, Decimal(0))
    reach = 0
    for i, lowest in enumerate(ordered):
        end, most = reach, lowest.usd * (1 + LEG_WINDOW_BPS / BPS)
        while end < len(ordered) and ordered[end].usd <= most:
            end += 1
        if end == reach:
            continue  # a part of the set before
        near, reach = ordered[i:end], end
        found = (_behind(near), len(near), (lowest.usd - near[-1].usd) / lowest.usd)
        if found > rank:
            best, rank = near, found
    usd = _middle(best).quantize(INDEX_QUANTUM) if rank[0] >= needed else None
    return Measured(usd, ordered, best, rank[0], needed)


def _middle(legs: Sequence[Leg]) -> Decimal:
    """Median of sorted legs, all crossed ones together as one."""
    said = [leg.usd for leg in legs if len(leg.exchanges) == 1]
    crossed = [leg.usd for leg in legs if len(leg.exchanges) > 1]
    return median(sorted([*said, median(crossed)] if crossed else said))


def _stands(usd: Decimal, legs: Sequence[Leg]) -> bool:
    """Whether more exchanges stand behind the legs near `usd` than behind the others."""
    near = [leg for leg in legs if abs(leg.usd - usd) * BPS <= usd * LEG_WINDOW_BPS]
    return _behind(near) > _behind([leg for leg in legs if leg not in near])


def _behind(legs: Sequence[Leg]) -> int:
    return independent(frozenset(leg.mask for leg in legs))
