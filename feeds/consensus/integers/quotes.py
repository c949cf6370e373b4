"""Steps 1 and 2 of the consensus in integers: one exchange's quote, read, and what it says at a moment. Compiled.

    take_quote   a cell and its row's state -> the row: prices without trailing zeros, and up to when each side counts
    judge        the row at a moment: its price, its half width, or the verdict that it has none

Rules: the same decisions as judge_quote and refusal_of, to the last digit (venue.py has the words for them); a row's
moment is asked anew at each review, for that takes less time than to remember it. Sides are 0 bid, 1 ask, 2 last.
"""

import numpy as np

from feeds.consensus.integers.arrays import ENDLESS_NS, ROWS, VERDICT_OF, TableWords
from trinity.compiled import compiled
from trinity.limits import EXCHANGE_CLOCK_ALLOWANCE_NS
from trinity.memory.atomics import load_acquire, signed
from trinity.memory.cell import snapshot
from trinity.memory.price_table import SLOT_WORDS, RowState, cell_at, state_of
from trinity.native.wide import widen

BID, ASK, LAST = range(3)
BPS = 10_000
DIGITS_MAX = 18
POWERS = np.array([10**i for i in range(DIGITS_MAX + 1)], dtype=np.int64)

_NO_QUOTE = VERDICT_OF["no_quote"]
_NONPOSITIVE = VERDICT_OF["nonpositive_price"]
_CROSSED = VERDICT_OF["crossed_book"]
_WIDE_SPREAD = VERDICT_OF["wide_spread"]
_STALE = VERDICT_OF["stale"]
_STALE_EXCHANGE_TIME = VERDICT_OF["stale_exchange_time"]
_FUTURE = VERDICT_OF["future_exchange_time"]
_FROZEN_VERDICT = VERDICT_OF["frozen"]
_ONE_SIDED = VERDICT_OF["one_sided_book"]
_FROZEN = int(RowState.FROZEN)
_BOOK = 1 << BID | 1 << ASK


@compiled
def take_quote(tables: TableWords, state: np.void, exchange: int, asset: int) -> bool:
    """Read the newest quote and state of a cell; False when no quote could be read, and the one before then stays."""
    number = asset * ROWS + exchange
    row = state["rows"][number]
    base = cell_at(state["exchanges"], state["capacity"], exchange, asset)
    row["state"] = state_of(tables.prices, state["capacity"], exchange, asset)
    version = load_acquire(tables.prices, base)
    start = number * SLOT_WORDS
    if not snapshot(tables.prices, base, SLOT_WORDS, tables.quotes[start : start + SLOT_WORDS]):
        return False
    row["version"] = version
    row["has_quote"] = 1
    _take_sides(row, state["quotes"][number], state["assets"][asset]["max_age_ns"])
    return True


@compiled
def _take_sides(row: np.void, quote: np.void, max_age_ns: int) -> None:
    row["digits"], row["largest"], row["fits"], heard_at_ns = 0, 0, 1, 0
    for side in range(3):
        row["is_there"][side] = quote["is_there"][side]
        if quote["is_there"][side] == 0:
            continue
        price, places = quote["mantissa"][side], signed(quote["scale"][side])
        while places > 0 and price % 10 == 0:
            price //= 10
            places -= 1
        row["price"][side], row["places"][side] = price, places
        row["digits"] = max(row["digits"], places)
        received_at_ns = quote["received_at_ns"][side]
        heard_at_ns = max(heard_at_ns, received_at_ns)
        row["until_ns"][side], row["late"][side], row["refused"][side] = received_at_ns + max_age_ns, _STALE, 0
        if quote["has_exchange_time"][side] != 0:
            behind_ns = quote["received_wall_ns"][side] - quote["exchange_time_ns"][side]
            if behind_ns < -EXCHANGE_CLOCK_ALLOWANCE_NS:
                row["refused"][side] = _FUTURE
            if behind_ns > EXCHANGE_CLOCK_ALLOWANCE_NS:
                row["until_ns"][side] += EXCHANGE_CLOCK_ALLOWANCE_NS - behind_ns
                row["late"][side] = _STALE_EXCHANGE_TIME
    row["heard_until_ns"] = heard_at_ns + max_age_ns
    for side in range(3):
        if row["is_there"][side] != 0:
            missing = row["digits"] - row["places"][side]
            if abs(row["price"][side]) >= POWERS[DIGITS_MAX - missing]:
                row["fits"] = 0
                return
            row["price"][side] *= POWERS[missing]
            row["largest"] = max(row["largest"], abs(row["price"][side]))


@compiled
def judge(row: np.void, quote: np.void, asset: np.void, now_ns: int) -> None:
    """What the row says at `now_ns` (monotonic), written into it."""
    if row["has_quote"] == 0:
        row["verdict"], row["fresh_until_ns"], row["counted"] = _NO_QUOTE, 0, 0
        return
    row["fresh_until_ns"] = _end_of_phase(row, now_ns)
    row["counted"] = 0
    left_out, late, oldest = 0, 0, -1
    for side in range(3):
        if row["is_there"][side] == 0:
            continue
        if row["until_ns"][side] == row["fresh_until_ns"] and late == 0:
            late = row["late"][side]
        if oldest < 0 or quote["received_at_ns"][side] < quote["received_at_ns"][oldest]:
            oldest = side
        if row["refused"][side] != 0 or row["until_ns"][side] < row["fresh_until_ns"]:
            if left_out == 0:
                left_out = row["refused"][side] if row["refused"][side] != 0 else row["late"][side]
        else:
            row["counted"] |= 1 << side
    row["verdict"] = _refusal(row, asset["spread_bps"], left_out)
    row["is_off_book"] = 0
    if row["verdict"] == 0:
        if row["counted"] == _BOOK | 1 << LAST and _is_off_book(row, asset["spread_bps"]):
            row["is_off_book"] = 1
            row["counted"] = _BOOK
        oldest = _price(row, quote)
    if oldest >= 0:
        row["received_at_ns"], row["received_wall_ns"] = (
            quote["received_at_ns"][oldest],
            quote["received_wall_ns"][oldest],
        )
    if row["verdict"] == 0 and now_ns > row["fresh_until_ns"]:
        row["verdict"] = late if late != 0 else _STALE
    if row["verdict"] == 0 and row["state"] == _FROZEN:
        row["verdict"] = _FROZEN_VERDICT


@compiled
def _end_of_phase(row: np.void, now_ns: int) -> int:
    """When the first side that counts now stops counting; the last end of all when none does."""
    end_ns, last_ns = ENDLESS_NS, 0
    for side in range(3):
        if row["is_there"][side] != 0:
            last_ns = max(last_ns, row["until_ns"][side])
            if row["until_ns"][side] >= now_ns:
                end_ns = min(end_ns, row["until_ns"][side])
    return min(end_ns, last_ns)


@compiled
def _refusal(row: np.void, spread_bps: int, left_out: int) -> int:
    """The verdict of the sides that are fresh, 0 when they give a price."""
    if row["counted"] == 0:
        return left_out if left_out != 0 else _NO_QUOTE
    for side in range(3):
        if row["counted"] >> side & 1 and row["price"][side] <= 0:
            return _NONPOSITIVE
    if row["counted"] & _BOOK != _BOOK:
        if row["counted"] >> LAST & 1:
            return 0
        return left_out if left_out != 0 else _ONE_SIDED
    bid, ask = row["price"][BID], row["price"][ASK]
    if bid > ask:
        return _CROSSED
    if widen(ask - bid) * widen(2 * BPS) > widen(ask + bid) * widen(spread_bps):
        return _WIDE_SPREAD
    return 0


@compiled
def _is_off_book(row: np.void, bound_bps: int) -> bool:
    """Is the last price further outside its own book than the bound (trinity/book.py)?"""
    last = widen(row["price"][LAST]) * widen(BPS)
    if last < widen(row["price"][BID]) * widen(BPS - bound_bps):
        return True
    most: bool = widen(row["price"][ASK]) * widen(BPS + bound_bps) < last
    return most


@compiled
def _price(row: np.void, quote: np.void) -> int:
    """Price and width of what counts; which side the price is, the older one where it lies between two."""
    row["is_traded"] = 0
    if row["counted"] & _BOOK != _BOOK:
        row["is_traded"] = 1
        row["double_price"] = 2 * row["price"][LAST]
        return LAST
    bid, ask = row["price"][BID], row["price"][ASK]
    row["double_width"] = max(ask - bid, 2)
    older = BID if quote["received_at_ns"][BID] <= quote["received_at_ns"][ASK] else ASK
    if row["counted"] >> LAST & 1 == 0:
        row["double_price"] = bid + ask
        return older
    last = row["price"][LAST]
    middle = min(max(bid, last), ask)
    row["double_price"] = 2 * middle
    newest = -1
    for side in range(3):
        if row["price"][side] == middle and (
            newest < 0 or quote["received_at_ns"][side] > quote["received_at_ns"][newest]
        ):
            newest = side
    return newest
