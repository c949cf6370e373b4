"""Step 8 of the consensus in integers: the price of the kept votes, its confidence, its age and its end. Compiled.

Rules and bounds as in votes.py, which decides whose votes are kept. The confidence is counted in 1/40,000 of a vote's
unit: a price is doubled, its half width may be a number of basis points, and the mean of two points is their sum.
"""

import numpy as np

from feeds.consensus.decimals.rules import MILLI_BPS, MILLI_BPS_MAX
from feeds.consensus.integers.arrays import CURRENCIES, INDEX_PLACES, ROWS
from feeds.consensus.integers.quotes import BPS, DIGITS_MAX, POWERS
from trinity.compiled import compiled
from trinity.memory.answer_table import AnswerState
from trinity.native.octets import Integers
from trinity.native.wide import Wide, divide, load_wide, narrow, store_wide, widen

# Of a quotient that does not fit 64 bits: a liar who says a price of 18 digits.
QUOTIENT_MAX = 2**62
_GOOD = int(AnswerState.GOOD)
_USD = CURRENCIES.index("USD")


@compiled
def give_price(state: np.void, number: int) -> None:
    """Step 8: the price of the kept votes, its confidence and how long it may be served."""
    asset, bench = state["assets"][number], state["bench"]
    count = bench["kept_count"]
    middle = middle_of(bench["price"], bench["kept"], count)
    places = _places(state, number, middle)
    missing = bench["digits"] + INDEX_PLACES - places
    unit = _power(missing)
    price = rounded(middle, unit * widen(4))
    asset["confidence"] = rounded_up(_width(state, number), unit * widen(4 * BPS))
    asset["state"], asset["price"], asset["places"] = _GOOD, price, places
    spread = vote_at(bench, bench["count"] - 1) - vote_at(bench, 0)
    disagreement = rounded(spread * widen(MILLI_BPS), unit * widen(2) * widen(price))
    bench["disagreement_milli_bps"] = min(disagreement, MILLI_BPS_MAX)
    width = rounded_up(widen(asset["confidence"]) * widen(MILLI_BPS), widen(price))
    bench["confidence_milli_bps"] = min(width, MILLI_BPS_MAX)
    _give_times(state, number)


@compiled
def _power(exponent: int) -> Wide:
    """10**exponent, up to 10**36."""
    half = exponent // 2
    return widen(POWERS[half]) * widen(POWERS[exponent - half])


@compiled
def _places(state: np.void, number: int, middle: Wide) -> int:
    """Digits of the price: one more than its sources have, all of an exact mean, and no more than fit 18."""
    asset, bench = state["assets"][number], state["bench"]
    count = bench["kept_count"]
    places, is_converted = 0, False
    for place in range(count):
        exchange = bench["kept"][place]
        places = max(places, state["rows"][number * ROWS + exchange]["digits"] + 1)
        is_converted = is_converted or asset["currency"][exchange] != _USD
    if not is_converted:
        whole = 0  # four times the median, of 10**-digits
        for place in ((count - 1) // 2, count // 2):
            row = state["rows"][number * ROWS + bench["kept"][place]]
            whole += row["double_price"] * POWERS[bench["digits"] - row["digits"]]
        places = max(places, _places_of_quarter(whole, bench["digits"]))
    missing = bench["digits"] + INDEX_PLACES - places
    while places > 0 and missing < DIGITS_MAX and widen(4 * POWERS[DIGITS_MAX]) * _power(missing) <= middle:
        places -= 1
        missing += 1
    return places


@compiled
def _places_of_quarter(whole: int, places: int) -> int:
    """Digits behind the point that `whole` / 4, of 10**-places, needs."""
    if whole % 4 != 0:
        return places + (1 if whole % 2 == 0 else 2)
    whole //= 4
    while places > 0 and whole % 10 == 0:
        whole //= 10
        places -= 1
    return places


@compiled
def _width(state: np.void, number: int) -> Wide:
    """The confidence after Pyth (robust.py) as an integer of 10**-(digits + INDEX_PLACES) / 40,000."""
    asset, bench = state["assets"][number], state["bench"]
    points, count = bench["points"], 0
    for place in range(bench["kept_count"]):
        exchange = bench["kept"][place]
        row = state["rows"][number * ROWS + exchange]
        if row["is_traded"] != 0:
            half = widen(row["double_price"]) * widen(asset["floor_bps"])
            tick = widen(2 * BPS)
            half = tick if half < tick else half
        else:
            half = widen(row["double_width"]) * widen(BPS)
        factor = widen(POWERS[bench["digits"] - row["digits"]])
        half = half * factor * widen(state["indexes"][asset["currency"][exchange]])
        price = load_wide(bench["price"], exchange) * widen(BPS)
        count = _insert(points, count, price - half)
        count = _insert(points, count, price)
        count = _insert(points, count, price + half)
    quarter = count >> 2
    low, high = load_wide(points, quarter), load_wide(points, count - 1 - quarter)
    middle = load_wide(points, (count - 1) // 2) + load_wide(points, count // 2)
    below, above = middle - (low + low), (high + high) - middle
    return above if below < above else below


@compiled
def _insert(points: Integers, count: int, point: Wide) -> int:
    """Put a point into the sorted ones; how many there are now."""
    place = count
    while place > 0 and point < load_wide(points, place - 1):
        store_wide(points, place, load_wide(points, place - 1))
        place -= 1
    store_wide(points, place, point)
    return count + 1


@compiled
def _give_times(state: np.void, number: int) -> None:
    """The receipts of the oldest quote that the price stands on and of the newest used, and the end of the price."""
    asset, bench = state["assets"][number], state["bench"]
    count, prices, kept = bench["kept_count"], bench["price"], bench["kept"]
    low, high = load_wide(prices, kept[(count - 1) // 2]), load_wide(prices, kept[count // 2])
    oldest, newest_wall_ns = -1, 0
    until_ns = _end_of_required(state, number)
    for place in range(count):
        row = state["rows"][number * ROWS + kept[place]]
        newest_wall_ns = max(newest_wall_ns, row["received_wall_ns"])
        price = load_wide(prices, kept[place])
        if low <= price and price <= high:
            until_ns = min(until_ns, row["fresh_until_ns"])
            if oldest < 0 or row["received_at_ns"] < bench["received_at_ns"]:
                oldest = place
                bench["received_at_ns"], bench["received_wall_ns"] = row["received_at_ns"], row["received_wall_ns"]
    bench["newest_wall_ns"] = newest_wall_ns
    asset["valid_until_ns"] = until_ns + 1


@compiled
def _end_of_required(state: np.void, number: int) -> int:
    """Up to when as many of the kept as are required stay fresh: the required-th latest of their ends."""
    bench = state["bench"]
    found = 0
    for place in range(bench["kept_count"]):
        end_ns = state["rows"][number * ROWS + bench["kept"][place]]["fresh_until_ns"]
        at_least = 0
        for other in range(bench["kept_count"]):
            at_least += state["rows"][number * ROWS + bench["kept"][other]]["fresh_until_ns"] >= end_ns
        if at_least >= bench["required"]:
            found = max(found, end_ns)
    return found


@compiled
def vote_at(bench: np.void, place: int) -> Wide:
    """Twice the price of the vote in this place of their order."""
    return load_wide(bench["price"], bench["vote"][place])


@compiled
def middle_of(prices: Integers, order: Integers, count: int) -> Wide:
    """Twice the median of what `prices` has in this order."""
    half = count // 2
    return load_wide(prices, order[(count - 1) // 2]) + load_wide(prices, order[half])


@compiled
def rounded(dividend: Wide, divisor: Wide) -> int:
    """The quotient, half to even; QUOTIENT_MAX where it would be more, and 0 without a divisor."""
    if divisor <= widen(0):
        return 0
    quotient, rest = divide(dividend, divisor)
    if widen(QUOTIENT_MAX) <= quotient:
        return QUOTIENT_MAX
    whole: int = narrow(quotient)
    doubled = rest + rest
    if divisor < doubled or (divisor == doubled and whole & 1 == 1):
        whole += 1
    return whole


@compiled
def rounded_up(dividend: Wide, divisor: Wide) -> int:
    """The quotient, rounded up; QUOTIENT_MAX where it would be more."""
    quotient, rest = divide(dividend, divisor)
    if widen(QUOTIENT_MAX) <= quotient:
        return QUOTIENT_MAX
    whole: int = narrow(quotient)
    return whole if rest == widen(0) else whole + 1
