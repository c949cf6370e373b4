"""USDT/USD and USDC/USD as measured, never as assumed, and how long a coin has been off its peg. Pure.

A leg is one independent observation of the coin in USD:

    direct    each exchange's own COIN/USD
    crossed   one leg for all exchanges that trade USDC/USDT: their median, turned into USD by the other coin's
              direct legs. One leg, not one an exchange, because all of them hang on the same other coin: with a
              single exchange that trades USDC/USD, its fault would otherwise tilt every crossed leg at once

The index is the median of at least two fresh legs of which a majority agrees; without that there is no index, and
the consensus leaves the quotes in that coin out. Legs are taken from raw quotes only, never from a consensus price,
so neither coin waits for the other and no order of evaluation matters.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from feeds.consensus import BPS, USD, Source, admit, majority_window, median
from trinity.limits import DEPEG_PAGE_BPS, DEPEG_WARN_BPS, DEPEG_WARN_NS, LEG_WINDOW_BPS

USDT = "USDT"
USDC = "USDC"
# In the order of the answer table's index words.
COINS = (USDT, USDC)
LEGS_MIN = 2
# 12 digits are a hundred times finer than the finest leg, and keep a converted price within Decimal's 28.
INDEX_QUANTUM = Decimal("1e-12")


class Leg(NamedTuple):
    """One observation of a coin in USD; `exchange` is None for the crossed leg."""

    exchange: int | None
    usd: Decimal


class Index(NamedTuple):
    """USD per coin, None when it could not be measured, and what it was measured from."""

    usd: Decimal | None
    legs: tuple[Leg, ...]


class Peg(NamedTuple):
    """How far a coin is off: level 0 at par, 1 worth a warning, 2 worth a page; off since when (monotonic)."""

    level: int = 0
    off_since_ns: int | None = None


def measure(usdt: Sequence[Source], usdc: Sequence[Source], now_ns: int) -> Mapping[str, Index]:
    """Both indexes out of the sources of the assets USDT and USDC at `now_ns` (monotonic)."""
    direct_usdt = _fresh(usdt, USD, now_ns)
    direct_usdc = _fresh(usdc, USD, now_ns)
    usdt_per_usdc = _agreed([leg.usd for leg in _fresh(usdc, USDT, now_ns)])
    usd_per_usdt = _agreed([leg.usd for leg in direct_usdt])
    usd_per_usdc = _agreed([leg.usd for leg in direct_usdc])
    crossed_usdt = usd_per_usdc / usdt_per_usdc if usd_per_usdc is not None and usdt_per_usdc is not None else None
    crossed_usdc = usd_per_usdt * usdt_per_usdc if usd_per_usdt is not None and usdt_per_usdc is not None else None
    return {USDT: _index(direct_usdt, crossed_usdt), USDC: _index(direct_usdc, crossed_usdc)}


def usable(measured: Mapping[str, Index]) -> dict[str, Decimal]:
    """The indexes that exist, as the consensus wants them."""
    return {coin: index.usd for coin, index in measured.items() if index.usd is not None}


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
    return [Leg(vote.exchange, vote.price) for vote in votes if vote is not None]


def _index(direct: Sequence[Leg], crossed: Decimal | None) -> Index:
    legs = (*direct, Leg(None, crossed.quantize(INDEX_QUANTUM))) if crossed is not None else tuple(direct)
    return Index(_agreed([leg.usd for leg in legs]) if len(legs) >= LEGS_MIN else None, tuple(legs))


def _agreed(prices: Sequence[Decimal]) -> Decimal | None:
    """Median, None when there is nothing or no majority; a majority always surrounds the median."""
    ordered = sorted(prices)
    if not ordered or majority_window(ordered, LEG_WINDOW_BPS) is None:
        return None
    return median(ordered)
