"""The frequent frame of an exchange, one ticker of one symbol, read in compiled code.

    bytes of a frame -> read_ticker(...)   its form (walk.py), then its numbers, into a record of TICKER_DTYPE

Rules: the exchange's decoder is the truth: what is read here, it would read with the same result and no other event.
So everything rare is left to it: no price, a price of zero, a last price off its book, a time that is none, a gap in
the sequence. Nothing is changed by reading; what a connection remembers changes when the ticker is taken.
"""

import numpy as np
from numpy.typing import NDArray

from feeds.exchanges.contract import ExactPrice, Quote
from feeds.exchanges.fields import LAST_OFF_BOOK_BPS
from feeds.exchanges.walk import ROLES_FROM, walk
from trinity.clock import NS_PER_MS, NS_PER_SECOND, NS_PER_US
from trinity.compiled import compiled
from trinity.native.octets import DIGITS_MAX, Integers, Octets, byte_at, octets_of

# Roles: the symbol and what the ticker calls itself beside it; the prices; the last trade in a frame of its own; the
# time as an integer or of the calendar; the connection's sequence number; and what is there in one kind of frame alone.
SYMBOL, NAMED, BID, ASK, LAST, TRADE, TIME, CALENDAR_TIME, SEQUENCE, BOOK_MARK, TRADE_MARK = range(
    ROLES_FROM, ROLES_FROM + 11
)
_SIDES = 3

# What a connection's decoder and this reader share: the next sequence number, and scratch for the spans of the roles.
NEXT_SEQUENCE = 0
_MEMORY_WORDS = 2 * (TRADE_MARK + 1)
assert SYMBOL > NEXT_SEQUENCE
NO_SEQUENCE = -1

TICKER_DTYPE = np.dtype(
    [
        ("mantissa", np.int64, _SIDES),  # of bid, ask and last, as are the next two
        ("scale", np.int64, _SIDES),
        ("is_there", np.int64, _SIDES),
        ("tells_book", np.int64),
        ("tells_last", np.int64),
        ("time_ns", np.int64),  # 0: none
        ("sequence", np.int64),
        ("symbol_at", np.int64),
        ("symbol_end", np.int64),
    ],
    align=True,
)

_QUOTE, _POINT, _ZERO, _NINE, _Z = b'".09Z'
_TIME_MAX = 2**63 - 1
_TIME_DIGITS_MAX = 19
_FIRST_DIGIT_MAX = 8  # a number of 19 digits that begins with it is below 2**63
# The unit of an integer time is told by its size (fields.py).
_SECONDS_BELOW, _MS_BELOW, _US_BELOW = 10**11, 10**14, 10**17
_BPS = 10_000
# Above it the comparison with the book might not fit in 63 bits.
_COMPARED_MAX = 2**63 // (2 * _BPS)
_LEAPS_1969 = 477
_MONTH_ENDS = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365])  # without a leap day
_SECOND = octets_of(b"0000-00-00T00:00:00")
_FRACTION_DIGITS = 9
_YEAR_MIN, _YEAR_MAX = 1971, 2261  # whole years of what the table holds, without its first


def make_memory() -> Integers:
    """What a new connection's decoder has to remember: nothing yet."""
    memory = np.zeros(_MEMORY_WORDS, dtype=np.int64)
    memory[NEXT_SEQUENCE] = NO_SEQUENCE
    return memory


def set_ticker(tickers: NDArray[np.void], quote: Quote) -> None:
    """Make the first ticker the quote that a decoder has read."""
    sides: list[ExactPrice | None] = [quote.bid, quote.ask, quote.last]
    tickers[0] = (
        [side.mantissa if side is not None else 0 for side in sides],
        [side.scale if side is not None else 0 for side in sides],
        [side is not None for side in sides],
        quote.tells_book,
        quote.tells_last,
        quote.exchange_time_ns or 0,
        NO_SEQUENCE,
        0,
        0,
    )


@compiled
def read_ticker(octets: Octets, start: int, end: int, form: np.void, memory: Integers, ticker: np.void) -> bool:
    """Whether octets[start:end] is a frequent frame; its ticker then."""
    for role in range(ROLES_FROM, TRADE_MARK + 1):
        memory[2 * role] = memory[2 * role + 1] = 0
    if not walk(octets, start, end, form, memory):
        return False
    ticker["tells_book"] = ticker["tells_last"] = 0
    ticker["sequence"] = NO_SEQUENCE
    return (
        _read_symbol(octets, memory, ticker)
        and _read_prices(octets, memory, ticker)
        and _read_time(octets, memory, ticker)
        and _read_sequence(octets, memory, ticker)
    )


@compiled
def _has(memory: Integers, role: int) -> bool:
    return bool(memory[2 * role + 1] != 0)


@compiled
def _read_symbol(octets: Octets, memory: Integers, ticker: np.void) -> bool:
    """A text that is not empty; where the ticker names itself too, the same."""
    start, end = memory[2 * SYMBOL], memory[2 * SYMBOL + 1]
    if byte_at(octets, start) != _QUOTE or end - start <= 2:
        return False
    ticker["symbol_at"], ticker["symbol_end"] = start + 1, end - 1
    if not _has(memory, NAMED):
        return True
    named = memory[2 * NAMED]
    if memory[2 * NAMED + 1] - named != end - start:
        return False
    for i in range(end - start):  # noqa: SIM110 - a generator expression does not compile
        if byte_at(octets, start + i) != byte_at(octets, named + i):
            return False
    return True


@compiled
def _read_prices(octets: Octets, memory: Integers, ticker: np.void) -> bool:
    for side in range(_SIDES):
        role = BID + side
        if side == _SIDES - 1 and _has(memory, TRADE):
            role = TRADE
        ticker["mantissa"][side] = ticker["scale"][side] = ticker["is_there"][side] = 0
        if _has(memory, role):
            if not _read_price(octets, memory, role, ticker, side):
                return False
            ticker["is_there"][side] = 1
    ticker["tells_book"] = ticker["is_there"][0]
    ticker["tells_last"] = ticker["is_there"][2]
    return ticker["is_there"][0] + ticker["is_there"][2] < 2 or _is_in_book(ticker)


@compiled
def _read_price(octets: Octets, memory: Integers, role: int, ticker: np.void, side: int) -> bool:
    """Plain digits with at most one point, as a number or a string, 18 digits in all, above zero."""
    at, end = memory[2 * role], memory[2 * role + 1]
    if byte_at(octets, at) == _QUOTE:
        at, end = at + 1, end - 1
    start, point, mantissa = at, -1, 0
    if end - start > DIGITS_MAX + 1:
        return False
    while at < end:
        byte = byte_at(octets, at)
        if byte == _POINT and point < 0 and at > start:
            point = at
        elif _ZERO <= byte <= _NINE and at - start - (0 if point < 0 else 1) < DIGITS_MAX:
            mantissa = mantissa * 10 + (byte - _ZERO)
        else:
            return False
        at += 1
    if mantissa == 0 or point == end - 1:
        return False
    ticker["mantissa"][side] = mantissa
    ticker["scale"][side] = 0 if point < 0 else end - 1 - point
    return True


@compiled
def _is_in_book(ticker: np.void) -> bool:
    """Whether the last price is surely no further outside of its book than it may be (book.py)."""
    scale = max(ticker["scale"][0], ticker["scale"][1], ticker["scale"][2])
    bid, ask, last = _at_scale(ticker, 0, scale), _at_scale(ticker, 1, scale), _at_scale(ticker, 2, scale)
    if max(bid, ask, last) > _COMPARED_MAX:
        return False
    return last * _BPS >= bid * (_BPS - LAST_OFF_BOOK_BPS) and last * _BPS <= ask * (_BPS + LAST_OFF_BOOK_BPS)


@compiled
def _at_scale(ticker: np.void, side: int, scale: int) -> int:
    """The mantissa at a scale that is not smaller than its own; somewhere above _COMPARED_MAX it stays."""
    mantissa: int = ticker["mantissa"][side]
    for _ in range(scale - ticker["scale"][side]):
        if mantissa > _COMPARED_MAX:
            break
        mantissa *= 10
    return mantissa


@compiled
def _read_time(octets: Octets, memory: Integers, ticker: np.void) -> bool:
    role = CALENDAR_TIME if _has(memory, CALENDAR_TIME) else TIME
    at, end = memory[2 * role], memory[2 * role + 1]
    if byte_at(octets, at) == _QUOTE:
        at, end = at + 1, end - 1
    elif role == CALENDAR_TIME:
        return False
    ticker["time_ns"] = _calendar_ns(octets, at, end) if role == CALENDAR_TIME else _integer_ns(octets, at, end)
    return bool(ticker["time_ns"] > 0)


@compiled
def _digits(octets: Octets, at: int, end: int) -> int:
    """The number of these digits, at most 19 and below 2**63; -1 for anything else."""
    length, value = end - at, 0
    if length <= 0 or length > _TIME_DIGITS_MAX:
        return -1
    if length == _TIME_DIGITS_MAX and byte_at(octets, at) > _ZERO + _FIRST_DIGIT_MAX:
        return -1
    for i in range(at, end):
        byte = byte_at(octets, i)
        if not _ZERO <= byte <= _NINE:
            return -1
        value = value * 10 + (byte - _ZERO)
    return value


@compiled
def _integer_ns(octets: Octets, at: int, end: int) -> int:
    """An integer in seconds to nanoseconds, as nanoseconds; not above 0 for anything that is not surely a time."""
    number = _digits(octets, at, end)
    unit_ns = 1
    if number < _SECONDS_BELOW:
        unit_ns = NS_PER_SECOND
    elif number < _MS_BELOW:
        unit_ns = NS_PER_MS
    elif number < _US_BELOW:
        unit_ns = NS_PER_US
    return number * unit_ns if number <= _TIME_MAX // unit_ns else -1


@compiled
def _calendar_ns(octets: Octets, at: int, end: int) -> int:
    """2026-01-02T03:04:05.123456789Z with 0 to 9 digits of a second; -1 for anything else."""
    point, fields, number = at + _SECOND.size, 0, 0
    if end <= point or byte_at(octets, end - 1) != _Z:
        return -1
    for i in range(_SECOND.size):
        byte, form = byte_at(octets, at + i), byte_at(_SECOND, i)
        if form == _ZERO and _ZERO <= byte <= _NINE:
            number = number * 10 + (byte - _ZERO)
        elif byte == form and form != _ZERO:
            fields, number = fields << 8 | number, 0
        else:
            return -1
    fraction_ns, places = 0, max(0, end - 2 - point)
    if end - 1 > point:
        if byte_at(octets, point) != _POINT or places > _FRACTION_DIGITS:
            return -1
        fraction_ns = _digits(octets, point + 1, end - 1)
    for _ in range(_FRACTION_DIGITS - places):
        fraction_ns *= 10
    year, month, day = fields >> 32, fields >> 24 & 0xFF, fields >> 16 & 0xFF
    hour, minute = fields >> 8 & 0xFF, fields & 0xFF
    if not (_YEAR_MIN <= year <= _YEAR_MAX and 1 <= month <= 12 and hour < 24 and minute < 60 and number < 60):
        return -1
    leaps, leaps_before = _leaps(year), _leaps(year - 1)
    leap_day = leaps - leaps_before
    days_of = _MONTH_ENDS[month] - _MONTH_ENDS[month - 1] + (leap_day if month == 2 else 0)
    if fraction_ns < 0 or day < 1 or day > days_of:
        return -1
    days = 365 * (year - 1970) + leaps_before - _LEAPS_1969 + _MONTH_ENDS[month - 1] + day - 1
    if month > 2:
        days += leap_day
    return (((days * 24 + hour) * 60 + minute) * 60 + number) * NS_PER_SECOND + fraction_ns  # type: ignore[no-any-return]


@compiled
def _leaps(year: int) -> int:
    """Leap days up to the end of a year."""
    return year // 4 - year // 100 + year // 400


@compiled
def _read_sequence(octets: Octets, memory: Integers, ticker: np.void) -> bool:
    """A number that is the one that was due, if any was."""
    if not _has(memory, SEQUENCE):
        return True
    at, end = memory[2 * SEQUENCE], memory[2 * SEQUENCE + 1]
    number = _digits(octets, at, end) if end - at <= DIGITS_MAX else -1
    ticker["sequence"] = number
    return number >= 0 and (memory[NEXT_SEQUENCE] == NO_SEQUENCE or number == memory[NEXT_SEQUENCE])


@compiled
def remember(memory: Integers, ticker: np.void) -> None:
    """The ticker was taken."""
    if ticker["sequence"] != NO_SEQUENCE:
        memory[NEXT_SEQUENCE] = ticker["sequence"] + 1
