"""Robust statistics of sorted prices: majority, cut, median, confidence (steps 5, 6 and 8 of the consensus). Pure."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

BPS = Decimal(10_000)
# Three standard deviations of a normal distribution, whose deviation is 1.4826 times its MAD.
MADS_MAX = 3 * Decimal("1.4826")


class Cut(NamedTuple):
    """Step 6: sources further than `limit` from `middle` are left out."""

    middle: Decimal
    mad: Decimal
    limit: Decimal


def majority_window(prices: Sequence[Decimal], window_bps: int, needed: int) -> tuple[Decimal, Decimal] | None:
    """Step 5: the narrowest (low, high) that holds `needed` of the sorted prices; None if wider than allowed, or
    when there are not so many."""
    if len(prices) < needed:
        return None
    low, high = min(zip(prices, prices[needed - 1 :], strict=False), key=lambda edge: (edge[1] - edge[0]) / edge[0])
    return (low, high) if (high - low) * BPS <= low * window_bps else None


def robust_cut(prices: Sequence[Decimal], floor_bps: int) -> Cut:
    """Step 6 for sorted prices; without the floor equal prices would have no deviation and throw out all others."""
    middle = median(prices)
    mad = median(sorted(abs(price - middle) for price in prices))
    return Cut(middle, mad, max(MADS_MAX * mad, middle * floor_bps / BPS))


def median(ordered: Sequence[Decimal]) -> Decimal:
    """Middle of sorted values; the mean of the two middle ones of an even number."""
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def pyth_price(votes: Sequence[tuple[Decimal, Decimal]]) -> tuple[Decimal, Decimal]:
    """Price and confidence after Pyth's `upd_aggregate`: each (price, half width) votes three times.

    The quartiles of p - c, p and p + c; the confidence is the greater distance of a quartile from the median.
    """
    points = sorted(point for price, width in votes for point in (price - width, price, price + width))
    quarter = len(points) >> 2
    middle = median(points)
    return middle, max(middle - points[quarter], points[-1 - quarter] - middle)
