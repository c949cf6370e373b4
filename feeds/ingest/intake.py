"""From the bytes of a read to the price table in one compiled call: frames, tickers, rows, freshness, cells.

    take_frames   every frequent frame in front of a read; it stops at the first that is none
    take_quote    one quote that Python has read, from a slow frame or from REST: the same way into the table

Rules: a frame that is not a frequent one, or whose row needs more than its cell written, changes nothing here and is
left to the exchange's decoder and to rows.py. `Intake` has what both work on: an exchange's rows.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from feeds.exchanges.frequent import TICKER_DTYPE, make_memory, read_ticker, remember
from feeds.exchanges.merge import has_price, look_at, merge, middle_of
from feeds.exchanges.walk import FORM_DTYPE
from feeds.ingest.arrivals import (
    LINE_DTYPE,
    ROW_DTYPE,
    SEEN_DTYPE,
    accept,
    is_bare_repeat,
    is_newer,
    is_out_of_order,
    is_untimely,
    on_quote,
    on_rest,
)
from feeds.ingest.extent import WRONG, extent_of, is_message
from trinity.compiled import compile_for, compiled
from trinity.limits import FEED_ROWS_MAX
from trinity.memory.atomics import Words
from trinity.memory.price_table import QUOTE_DTYPE, SLOT_WORDS, PriceTable, RowState, Via, publish_quote
from trinity.native.octets import NOT_FOUND, Integers, Octets, byte_at, find_text, pack_texts

# Behind the quotes of the rows: the one that a ticker makes.
_MERGED = FEED_ROWS_MAX
_WS = int(Via.WS)
_NO_SYMBOL = b"\0"  # no frame has it
_STARTING, _QUIET = int(RowState.STARTING), int(RowState.QUIET)

FEED_DTYPE = np.dtype(
    [
        ("exchanges", np.int64),  # of the price table
        ("capacity", np.int64),
        ("exchange", np.int64),
        ("assets", np.int64, FEED_ROWS_MAX),  # of each row, its index in the table
        ("form", FORM_DTYPE),
        ("ticker", TICKER_DTYPE),
        ("seen", SEEN_DTYPE),
        ("rows", ROW_DTYPE, FEED_ROWS_MAX),
        ("quotes", QUOTE_DTYPE, FEED_ROWS_MAX + 1),  # what each row has
    ],
    align=True,
)
_REFUSED, WRITTEN, LATE = range(3)
Records = NDArray[np.void]


class Intake(NamedTuple):
    """An exchange's rows and all that a quote of them meets. Structured arrays of one element: as records they would
    cost each call 2 us more."""

    prices: Words
    quotes: Words  # of `feed`
    symbols: Octets
    bounds: Integers
    feed: Records


def make_intake(prices: PriceTable, exchange: int, form: np.void, symbols: Sequence[str], assets: list[int]) -> Intake:
    """Rows that have received nothing, in this order."""
    feed = np.zeros(1, dtype=FEED_DTYPE)
    feed["exchanges"], feed["capacity"], feed["exchange"] = prices.exchanges, prices.capacity, exchange
    feed["assets"][0][: len(assets)] = assets
    feed["form"] = form
    quotes = feed["quotes"].reshape(-1).view(np.uint64)
    return Intake(prices.words, quotes, *pack_texts([symbol.encode() for symbol in symbols]), feed)


def place_row(intake: Intake, symbols: Sequence[str | None], number: int, asset: int) -> Intake:
    """The same rows with one placed anew, empty in the price table too; None is a row that nobody has."""
    feed = intake.feed[0]
    feed["assets"][number], feed["rows"][number], feed["quotes"][number] = asset, 0, 0
    words = intake.quotes[number * SLOT_WORDS : (number + 1) * SLOT_WORDS]
    publish_quote(intake.prices, feed["exchanges"], feed["capacity"], feed["exchange"], asset, words)
    texts = [symbol.encode() if symbol is not None else _NO_SYMBOL for symbol in symbols]
    packed, bounds = pack_texts(texts)
    return intake._replace(symbols=packed, bounds=bounds)


def recall(intake: Intake, prices: PriceTable, number: int) -> None:
    """What a predecessor wrote stays the row's: a bare repeat of it by REST is no news."""
    feed = intake.feed[0]
    quote, row = feed["quotes"][number], feed["rows"][number]
    words = intake.quotes[number * SLOT_WORDS : (number + 1) * SLOT_WORDS]
    if not prices.copy(int(feed["exchange"]), int(feed["assets"][number]), words):
        return
    middle, received_at_ns = look_at(feed["quotes"][number : number + 1])
    if math.isnan(middle):
        words[:] = 0
        return
    side = quote["received_at_ns"].tolist().index(received_at_ns)
    times = (int(quote[name][side]) for name in ("exchange_time_ns", "received_at_ns", "received_wall_ns"))
    row["newest"] = (middle, *times, int(quote["via"]))


def warm_up() -> None:
    """Compile what a feed calls, or load it: the supervisor does it once, before it forks."""
    words, octets, numbers = np.zeros(1, dtype=np.uint64), np.zeros(1, dtype=np.uint8), np.zeros(1, dtype=np.int64)
    feed, line = np.zeros(1, dtype=FEED_DTYPE), np.zeros(1, dtype=LINE_DTYPE)
    intake = words, words, octets, numbers, feed
    compile_for(extent_of, octets, 0, 0)
    compile_for(is_message, 0)
    compile_for(take_frames, *intake, line, make_memory(), octets, 0, 0, 0, 0)
    compile_for(take_quote, *intake, line, 0, 0, 0, 0, 0)
    compile_for(look_at, feed["quotes"][0][:1])
    compile_for(is_untimely, 0, 0, 0)


@compiled
def take_frames(
    prices: Words,
    quotes: Words,
    symbols: Octets,
    bounds: Integers,
    feeds: Records,
    lines: Records,
    memory: Integers,
    octets: Octets,
    at: int,
    size: int,
    at_ns: int,
    wall_ns: int,
) -> tuple[int, int, int]:
    """Take the frequent frames from octets[at:size]: where the first other one begins, how many they were, and how
    many quotes were written. They were received at `at_ns`."""
    feed, line, frames, written = feeds[0], lines[0], 0, 0
    ticker, form = feed["ticker"], feed["form"]
    while at < size:
        start, end = extent_of(octets, at, size)
        if start == WRONG or end > size or not is_message(byte_at(octets, at)):
            break
        if not read_ticker(octets, start, end, form, memory, ticker):
            break
        number = find_text(symbols, bounds, octets, ticker["symbol_at"], ticker["symbol_end"])
        if number == NOT_FOUND:
            break
        row = feed["rows"][number]
        is_plain = row["is_left_out"] == 0 and row["state"] != _STARTING and row["state"] != _QUIET
        if not is_plain or line["serial"] < row["serial"]:
            break
        _observe(feed, number, _WS, at_ns, wall_ns)
        if is_out_of_order(row, feed["seen"]):
            break
        written += _settle_ws(prices, quotes, feed, line, number) == WRITTEN
        remember(memory, ticker)
        frames += 1
        at = end
    return at, frames, written


@compiled
def take_quote(
    prices: Words,
    quotes: Words,
    symbols: Octets,  # noqa: ARG001 - an Intake, as `take_frames` has it
    bounds: Integers,  # noqa: ARG001
    feeds: Records,
    lines: Records,
    number: int,
    via: int,
    at_ns: int,
    wall_ns: int,
    asked_at_ns: int,
) -> int:
    """Take the ticker of a row that stands in `feed`: whether it was refused, WRITTEN or LATE."""
    feed, line = feeds[0], lines[0]
    row, seen = feed["rows"][number], feed["seen"]
    _observe(feed, number, via, at_ns, wall_ns)
    if via == _WS:
        return _settle_ws(prices, quotes, feed, line, number)
    if is_bare_repeat(row, seen):
        on_rest(row, seen)  # the row keeps its age and is not confirmed by it
        return _REFUSED
    return _write(prices, quotes, feed, number) if is_newer(row, seen, asked_at_ns) else _REFUSED


@compiled
def _observe(feed: np.void, number: int, via: int, at_ns: int, wall_ns: int) -> None:
    """What the row would have with the ticker, and how it is seen."""
    feed["quotes"][_MERGED] = feed["quotes"][number]
    seen, merged = feed["seen"], feed["quotes"][_MERGED]
    merge(merged, feed["ticker"], at_ns, wall_ns, feed["rows"][number]["max_age_ns"])
    seen["price"], seen["exchange_time_ns"] = middle_of(merged), feed["ticker"]["time_ns"]
    seen["received_at_ns"], seen["received_wall_ns"], seen["via"] = at_ns, wall_ns, via


@compiled
def _settle_ws(prices: Words, quotes: Words, feed: np.void, line: np.void, number: int) -> int:
    """The row belongs to this connection now, and has the quote if it is newer."""
    row, seen, result = feed["rows"][number], feed["seen"], _REFUSED
    row["serial"] = line["serial"]
    if is_out_of_order(row, seen):
        result = LATE
    elif is_newer(row, seen, 0):
        result = _write(prices, quotes, feed, number)
    on_quote(line, seen, result == WRITTEN)
    return result


@compiled
def _write(prices: Words, quotes: Words, feed: np.void, number: int) -> int:
    """Publish what the row has now; refused when that is no price, and the row then gets no younger by it."""
    merged = feed["quotes"][_MERGED]
    is_price, source, target = has_price(merged), _MERGED * SLOT_WORDS, number * SLOT_WORDS
    is_new = is_price
    for i in range(SLOT_WORDS):
        is_new = is_new or quotes[source + i] != quotes[target + i]
    if not is_new:
        return _REFUSED
    merged["via"] = feed["seen"]["via"]
    feed["quotes"][number] = merged
    value = quotes[target : target + SLOT_WORDS]
    publish_quote(prices, feed["exchanges"], feed["capacity"], feed["exchange"], feed["assets"][number], value)
    if not is_price:
        return _REFUSED
    accept(feed["rows"][number], feed["seen"])
    return WRITTEN
