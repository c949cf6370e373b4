"""Steps 3 to 9 of the consensus in integers: an asset's judged rows -> its price, or why there is none. Compiled.

Rules: the decisions of rules.py, to the last digit. A vote's price is an integer of 10**-(digits + INDEX_PLACES), and
twice the price, so that halves are exact; it has less than 2**103, since a row's prices have 18 digits and a coin is
worth less than INDEX_MAX. A mean of two votes is left as their sum, and what is compared with it is doubled: no product
below has more than 126 bits. Where the bounds do not hold the asset is decided in decimals (`fits`).
"""

import numpy as np

from feeds.consensus.decimals.rules import MILLI_BPS, MILLI_BPS_MAX
from feeds.consensus.integers.arrays import INDEX_PLACES, ROWS, VERDICT_OF
from feeds.consensus.integers.prices import give_price, middle_of, rounded, vote_at
from feeds.consensus.integers.quotes import BPS, DIGITS_MAX, POWERS
from trinity.compiled import compiled
from trinity.limits import BACKED_WINDOW_BPS, JUMP_HOLD_NS, JUMP_PERCENT_MAX, REENTRY_NS
from trinity.memory.answer_table import VERDICT_USED, AnswerState
from trinity.native.wide import Wide, load_wide, store_wide, widen

# A coin worth more is decided in decimals: 2e18 * 2e12 has 102 bits.
INDEX_MAX = 2 * 10**INDEX_PLACES
# 3 * 1.4826 (robust.py), times 10,000 as basis points are.
_MADS_MAX = 44_478
_PERCENT = 100

_EMPTY, _STALE = int(AnswerState.EMPTY), int(AnswerState.STALE)
_TOO_FEW, _DISAGREE = int(AnswerState.TOO_FEW_SOURCES), int(AnswerState.SOURCES_DISAGREE)
_NO_INDEX, _OUTLIER, _HELD_OUT = VERDICT_OF["no_index"], VERDICT_OF["outlier"], VERDICT_OF["held_out"]


@compiled
def fits(state: np.void, number: int) -> bool:
    """Whether all that is stored of an asset fits one scale of 18 digits, and its coins the bound."""
    asset, digits = state["assets"][number], 0
    for exchange in range(ROWS):
        row = state["rows"][number * ROWS + exchange]
        if row["has_quote"] != 0:
            if row["fits"] == 0:
                return False
            digits = max(digits, row["digits"])
    for exchange in range(ROWS):
        row = state["rows"][number * ROWS + exchange]
        if row["has_quote"] != 0 and row["largest"] >= POWERS[DIGITS_MAX - (digits - row["digits"])]:
            return False
        if state["indexes"][asset["currency"][exchange]] > INDEX_MAX:
            return False
    state["bench"]["digits"] = digits
    return True


@compiled
def decide(state: np.void, number: int, faulty: int, now_ns: int) -> None:
    """Decide asset `number`, whose rows were judged at `now_ns`; the outcome goes to its record and to the bench."""
    asset, bench = state["assets"][number], state["bench"]
    fresh = _admit(state, number)
    _begin(asset, bench, faulty, fresh)
    if fresh == 0:
        asset["state"] = _EMPTY
        for exchange in range(ROWS):
            if state["rows"][number * ROWS + exchange]["has_quote"] != 0:
                asset["state"] = _STALE
        _nobody_is_stable(asset)
        return
    count = bench["count"]
    bench["disagreement_milli_bps"] = _disagreement(bench)
    if count < bench["required"]:
        asset["state"] = _TOO_FEW
        _nobody_is_stable(asset)
        return
    bench["has_window"] = _has_majority(bench, asset["window_bps"])
    if bench["has_window"] == 0:
        asset["state"] = _DISAGREE
        _nobody_is_stable(asset)
        return
    _hold_out(asset, bench, now_ns)
    if bench["kept_count"] < bench["required"]:
        asset["state"] = _TOO_FEW
    elif not _is_backed(bench, faulty):
        asset["state"] = _DISAGREE
    else:
        give_price(state, number)
        _guard_jump(asset, bench, now_ns)


@compiled
def _admit(state: np.void, number: int) -> int:
    """Step 3: the votes in the order of their prices; how many have a fresh quote, convertible or not."""
    asset, bench = state["assets"][number], state["bench"]
    count, fresh = 0, 0
    for exchange in range(ROWS):
        asset["verdicts"][exchange] = 0
        if asset["listed"] >> exchange & 1 == 0:
            continue
        row = state["rows"][number * ROWS + exchange]
        asset["verdicts"][exchange] = row["verdict"]
        if row["verdict"] != 0:
            continue
        fresh += 1
        index = state["indexes"][asset["currency"][exchange]]
        if index == 0:
            asset["verdicts"][exchange] = _NO_INDEX
            continue
        asset["verdicts"][exchange] = VERDICT_USED
        scaled = row["double_price"] * POWERS[bench["digits"] - row["digits"]]
        price = widen(scaled) * widen(index)
        store_wide(bench["price"], exchange, price)
        place = count
        while place > 0 and price < load_wide(bench["price"], bench["vote"][place - 1]):
            bench["vote"][place] = bench["vote"][place - 1]
            place -= 1
        bench["vote"][place] = exchange
        count += 1
    bench["count"] = count
    return fresh


@compiled
def _begin(asset: np.void, bench: np.void, faulty: int, fresh: int) -> None:
    """No price so far, and what is asked of one."""
    asset["price"], asset["confidence"], asset["places"], asset["valid_until_ns"] = 0, 0, 0, 0
    bench["has_window"], bench["confidence_milli_bps"], bench["disagreement_milli_bps"] = 0, 0, 0
    bench["needed"] = fresh // 2 + 1
    bench["required"] = asset["min_sources"]
    if asset["is_coin"] != 0:
        bench["required"] = max(bench["required"], faulty + 1)


@compiled
def _nobody_is_stable(asset: np.void) -> None:
    for exchange in range(ROWS):
        asset["stable_since_ns"][exchange] = 0


@compiled
def _disagreement(bench: np.void) -> int:
    """(highest - lowest) / median of all votes in 1/1000 bps, half to even; 0 without votes."""
    count = bench["count"]
    if count == 0:
        return 0
    spread = vote_at(bench, count - 1) - vote_at(bench, 0)
    middle = middle_of(bench["price"], bench["vote"], count)
    return min(rounded(spread * widen(2 * MILLI_BPS), middle), MILLI_BPS_MAX)


@compiled
def _has_majority(bench: np.void, window_bps: int) -> int:
    """Step 5: 1 when some window that is no wider than allowed holds as many votes as are needed."""
    needed = bench["needed"]
    for lowest in range(bench["count"] - needed + 1):
        low, high = vote_at(bench, lowest), vote_at(bench, lowest + needed - 1)
        if (high - low) * widen(BPS) <= low * widen(window_bps):
            return 1
    return 0


@compiled
def _hold_out(asset: np.void, bench: np.void, now_ns: int) -> None:
    """Steps 6 and 7: who is cut or still held out now; the others are kept."""
    count, before = bench["count"], asset["held"]
    middle = middle_of(bench["price"], bench["vote"], count)
    limit = _cut_limit(asset, bench, middle)
    bench["kept_count"] = 0
    voted = 0
    for place in range(count):
        exchange = bench["vote"][place]
        voted |= 1 << exchange
        distance = _deviation(bench, place, middle) * widen(2 * BPS)
        if limit < distance:
            asset["held"] |= 1 << exchange
            asset["stable_since_ns"][exchange] = 0
        elif before >> exchange & 1:
            since_ns = asset["stable_since_ns"][exchange]
            if distance + distance < limit:
                asset["stable_since_ns"][exchange] = now_ns if since_ns == 0 else since_ns
                if since_ns != 0 and now_ns - since_ns >= REENTRY_NS:
                    asset["held"] &= ~(1 << exchange)
            else:
                asset["stable_since_ns"][exchange] = 0
        if asset["held"] >> exchange & 1:
            asset["verdicts"][exchange] = _OUTLIER if limit < distance else _HELD_OUT
        else:
            bench["kept"][bench["kept_count"]] = exchange
            bench["kept_count"] += 1
    for exchange in range(ROWS):
        if voted >> exchange & 1 == 0:
            asset["stable_since_ns"][exchange] = 0


@compiled
def _deviation(bench: np.void, place: int, middle: Wide) -> Wide:
    """Four times the distance of a vote from the median: prices are doubled, and so is `middle` again."""
    price = vote_at(bench, place)
    doubled = price + price
    return doubled - middle if middle < doubled else middle - doubled


@compiled
def _cut_limit(asset: np.void, bench: np.void, middle: Wide) -> Wide:
    """Step 6: 8 * 10,000 times how far a vote may be from the median: 3 * 1.4826 MAD, at least the floor."""
    count = bench["count"]
    for place in range(count):
        deviation = _deviation(bench, place, middle)
        at = place
        while at > 0 and deviation < load_wide(bench["deviations"], at - 1):
            store_wide(bench["deviations"], at, load_wide(bench["deviations"], at - 1))
            at -= 1
        store_wide(bench["deviations"], at, deviation)
    half = count // 2
    deviation = load_wide(bench["deviations"], (count - 1) // 2) + load_wide(bench["deviations"], half)
    by_deviation = deviation * widen(_MADS_MAX)
    by_floor = (middle + middle) * widen(asset["floor_bps"])
    return by_floor if by_deviation < by_floor else by_deviation


@compiled
def _is_backed(bench: np.void, faulty: int) -> bool:
    """Whether the median of the kept cannot be far from an honest price while `faulty` lie (independence.py)."""
    count = bench["kept_count"]
    if count > 2 * faulty:
        return True
    reach = min(faulty, count - 1)
    middle = middle_of(bench["price"], bench["kept"], count)
    for lowest in range(count - reach):
        low = load_wide(bench["price"], bench["kept"][lowest])
        high = load_wide(bench["price"], bench["kept"][lowest + reach])
        if (
            low + low <= middle
            and middle <= high + high
            and (high - low) * widen(BPS) <= low * widen(BACKED_WINDOW_BPS)
        ):
            return True
    return False


@compiled
def _guard_jump(asset: np.void, bench: np.void, now_ns: int) -> None:
    """Step 9: hold a jump that only some sources show, as SOURCES_DISAGREE, for a bounded time."""
    if asset["has_last"] != 0 and bench["kept_count"] < bench["count"] and _is_jump(asset):
        since_ns = now_ns if asset["jump_since_ns"] == 0 else asset["jump_since_ns"]
        if now_ns - since_ns < JUMP_HOLD_NS:
            asset["jump_since_ns"], asset["state"] = since_ns, _DISAGREE
            asset["price"], asset["confidence"], asset["valid_until_ns"] = 0, 0, 0
            bench["confidence_milli_bps"] = 0
            return
    asset["has_last"], asset["jump_since_ns"] = 1, 0
    asset["last_price"], asset["last_places"] = asset["price"], asset["places"]


@compiled
def _is_jump(asset: np.void) -> bool:
    """Is the price further from the last one than it may be?"""
    places = max(asset["places"], asset["last_places"])
    if places - min(asset["places"], asset["last_places"]) > DIGITS_MAX:
        return True  # of two prices of 18 digits: the one is at least ten times the other
    price = widen(asset["price"]) * widen(POWERS[places - asset["places"]])
    last = widen(asset["last_price"]) * widen(POWERS[places - asset["last_places"]])
    distance = last - price if price < last else price - last
    is_far: bool = last * widen(JUMP_PERCENT_MAX) < distance * widen(_PERCENT)
    return is_far
