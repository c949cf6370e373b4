"""How many exchanges may lie together, and how many independent ones stand behind a set of numbers. Pure.

A converted quote is not independent: whoever makes the index of a coin speaks through every exchange that quotes in
it. So independence is counted in exchanges over the whole market, not in quotes of one asset:

    faulty_of             of n live exchanges floor((n - 1) / 2) may lie, together, in all their markets
    independent           the fewest exchanges that together touch every observation of a set (its hitting set)
    is_backed             more prices than may be lies stand so near around a price that one of them is honest

Rules: an observation names the exchanges that it rests on as bits of a mask. A set of which so many as may lie do not
touch all observations holds one that no liar touched; where that cannot be had, nothing is believed.
"""

from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import combinations

from feeds.consensus.decimals.robust import BPS
from trinity.limits import BACKED_WINDOW_BPS

# A hitting set is searched for by trying all: 255 sets of 8 exchanges. Each set of masks is looked at once in a while,
# when an exchange comes or goes, and asked for in every turn.
_SETS_KEPT = 4_096


def faulty_of(live: int) -> int:
    """How many of so many live exchanges may lie without a price coming out wrong."""
    return max(0, (live - 1) // 2)


@lru_cache(maxsize=_SETS_KEPT)
def independent(masks: frozenset[int]) -> int:
    """Size of the smallest set of exchanges that touches every mask; 0 when there is none."""
    every = 0
    for mask in masks:
        every |= mask
    bits = [1 << position for position in range(every.bit_length()) if every >> position & 1]
    for size in range(len(bits)):
        for chosen in combinations(bits, size):
            touched = sum(chosen)
            if all(mask & touched for mask in masks):
                return size
    return len(bits)


def is_backed(prices: Sequence[Decimal], price: Decimal, faulty: int) -> bool:
    """Whether `price`, the median of the sorted `prices`, cannot be far from an honest one while `faulty` lie.

    Where the honest are more than half whatever happens, it lies among theirs. Where they need not be, one more than
    may lie must stand within BACKED_WINDOW_BPS around it: one of those is honest.
    """
    if len(prices) > 2 * faulty:
        return True
    reach = min(faulty, len(prices) - 1)
    return any(
        low <= price <= high and (high - low) * BPS <= low * BACKED_WINDOW_BPS
        for low, high in zip(prices, prices[reach:], strict=False)
    )
