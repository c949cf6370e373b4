"""Reading the fields of a frame: strict about prices and times, liberal about everything else.

A wire struct declares the fields that are used and no others, prices and times as `msgspec.Raw`: the value's own JSON
text, so that no digit is lost and a number may come as a string or as a number. A field's default says what it means
when its key is not there: `ABSENT` for a key that every such frame has (its absence is a changed shape),
`NULL` for a key that may be missing. A value of null or "" is "no price" or "no time", never zero.

What a frame means must be understood: where a price or an acknowledgement was due and is not there, that is a refusal
and never a sign of life. Everything raises `BadFieldError` for what cannot be used; nothing else escapes, for any
bytes.
"""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

import msgspec

from feeds.exchanges.contract import (
    Alive,
    BadFieldError,
    Event,
    ExactPrice,
    Quote,
    Refusal,
    RestRequest,
    UnknownSymbol,
    parse_price,
)
from trinity.book import is_off_book
from trinity.clock import NS_PER_MS, NS_PER_SECOND, NS_PER_US
from trinity.limits import FRAME_BYTES_MAX, REST_BODY_BYTES_MAX

T = TypeVar("T")
ReadTime = Callable[[msgspec.Raw], int | None]

ABSENT = msgspec.Raw(b"")
NULL = msgspec.Raw(b"null")
_EMPTY = ("", "null", '""')

ALIVE = Alive()

# A JSON number may have an exponent (RFC 8259 section 6), and so may a text that was made of one; two digits of it
# cover every price that 18 digits hold, and keep the plain form short.
_EXPONENT_NUMBER = re.compile(r'"?-?\d{1,18}(?:\.\d{1,18})?[eE][+-]?\d{1,2}"?', re.ASCII)
_INTEGER = re.compile(rb'"?(\d{1,19})"?')
# RFC 3339 in UTC, with 0 to 9 digits of a second.
_RFC3339 = re.compile(rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)"')
# The unit of an integer time is told by its size: each limit is the year 5138 in that unit and the spring of 1973 in
# the next finer one. Exchanges changed theirs from milliseconds to nanoseconds without a word.
_TIME_UNITS = ((10**11, NS_PER_SECOND), (10**14, NS_PER_MS), (10**17, NS_PER_US))
# The table keeps times as signed 64-bit nanoseconds: up to the year 2262.
_TIME_NS_MAX = 2**63 - 1

# A last price further than this outside its own book, in basis points of the book's side, is of another day or another
# market: 200 is the widest book that the catalog lets count by default, and Gemini's REST was seen 400 off. The
# consensus draws the line at the asset's own `max_spread_bps`.
LAST_OFF_BOOK_BPS = 200
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])

HTTP_OK = 200
# How an exchange says over REST that it does not know a symbol: 400 (Gemini, Gate.io) or 404 (Coinbase).
_HTTP_UNKNOWN = (400, 404)


def decode_frame(decoder: msgspec.json.Decoder[T], frame: bytes) -> T:
    """One WebSocket frame; BadFieldError `too_large`, `not_json`, `missing_field` or `unknown_shape`."""
    if len(frame) > FRAME_BYTES_MAX:
        raise BadFieldError("too_large", f"{len(frame)} bytes; {FRAME_BYTES_MAX} are accepted")
    try:
        return decoder.decode(frame)
    except _UNDECODABLE as error:
        raise _undecoded(error) from None


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """One REST body; the errors of decode_frame."""
    if len(body) > REST_BODY_BYTES_MAX:
        raise BadFieldError("too_large", f"{len(body)} bytes; {REST_BODY_BYTES_MAX} are accepted")
    try:
        return decoder.decode(body)
    except _UNDECODABLE as error:
        raise _undecoded(error) from None


def decode_field(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw, name: str) -> T:
    """The value of a raw field; BadFieldError `missing_field` or `unknown_shape`."""
    if not raw:
        raise BadFieldError("missing_field", name)
    try:
        return decoder.decode(raw)
    except _UNDECODABLE as error:
        raise _undecoded(error) from None


def present(value: T | msgspec.UnsetType, name: str) -> T:
    """The value of a field that every such frame has; BadFieldError `missing_field` when it is not there."""
    if isinstance(value, msgspec.UnsetType):
        raise BadFieldError("missing_field", name)
    return value


# RecursionError: msgspec's own bound on nesting.
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _undecoded(error: Exception) -> BadFieldError:
    text = str(error)[:200]
    if not isinstance(error, msgspec.ValidationError):
        return BadFieldError("not_json", text)
    return BadFieldError("missing_field" if "missing required field" in str(error) else "unknown_shape", text)


def text_of(raw: msgspec.Raw) -> str:
    """The JSON text of a raw value, for patterns and messages."""
    return str(raw, "utf-8", "replace")


def price_of(raw: msgspec.Raw, name: str) -> ExactPrice | None:
    """The price in field `name`, None when the exchange says that there is none.

    Raises BadFieldError `missing_field`, `bad_number` or `nonpositive_price`.
    """
    if raw is NULL:
        return None
    try:
        return parse_price(raw)
    except BadFieldError as error:
        text = text_of(raw)
        if text in _EMPTY:
            if text:
                return None
            raise BadFieldError("missing_field", name) from None
        if error.reason == "bad_number" and _EXPONENT_NUMBER.fullmatch(text):
            return price_of(msgspec.Raw(format(Decimal(text.strip('"')), "f").encode()), name)
        raise BadFieldError(error.reason, f"{name}: {error.detail}") from None


def time_of_integer(raw: msgspec.Raw) -> int | None:
    """Nanoseconds since 1970 of an integer in seconds to nanoseconds, as a number or a string; None without one."""
    match = _INTEGER.fullmatch(raw)
    if match is None:
        if text_of(raw) in _EMPTY:
            return None
        raise BadFieldError("bad_time", text_of(raw)[:40])
    number = int(match[1])
    for limit, unit_ns in _TIME_UNITS:
        if number < limit:
            return _bounded(number * unit_ns)
    return _bounded(number)


def time_of_rfc3339(raw: msgspec.Raw) -> int | None:
    """Nanoseconds since 1970 of a UTC time, None when there is none."""
    match = _RFC3339.fullmatch(raw)
    if match is None:
        if text_of(raw) in _EMPTY:
            return None
        raise BadFieldError("bad_time", text_of(raw)[:40])
    second, fraction = match.groups(b"")
    return _bounded(_second_ns(second) + int(fraction.ljust(9, b"0")))


@lru_cache(maxsize=64)  # a stream's times are all of the same few seconds
def _second_ns(second: bytes) -> int:
    text = second.decode()
    try:
        # A whole number of seconds is exact in a double.
        return int(datetime.fromisoformat(f"{text}+00:00").timestamp()) * NS_PER_SECOND
    except ValueError:
        raise BadFieldError("bad_time", text) from None


def _bounded(time_ns: int) -> int:
    """Zero is no moment but "never": taken for "no time", what is dead would be as young as its receipt."""
    if not 0 < time_ns <= _TIME_NS_MAX:
        raise BadFieldError("bad_time", f"{time_ns} ns is not within 1970 to 2262")
    return time_ns


def make_quote(
    symbol: str,
    bid: ExactPrice | None,
    ask: ExactPrice | None,
    last: ExactPrice | None,
    exchange_time_ns: int | None,
) -> list[Event]:
    """The quote of a ticker; a last price far outside the book beside it is refused, and the book stays."""
    if bid is None or ask is None or last is None or not _is_off_book(bid, ask, last):
        return [Quote(symbol, bid, ask, last, exchange_time_ns)]
    detail = f"last {last.decimal} is far outside of {bid.decimal} to {ask.decimal}"
    return [Quote(symbol, bid, ask, None, exchange_time_ns), Refusal("last_off_book", detail, symbol)]


def _is_off_book(bid: ExactPrice, ask: ExactPrice, last: ExactPrice) -> bool:
    scale = last.scale
    if bid.scale == scale == ask.scale:
        return is_off_book(bid.mantissa, ask.mantissa, last.mantissa, LAST_OFF_BOOK_BPS)
    scale = max(bid.scale, ask.scale, scale)
    return is_off_book(bid.at_scale(scale), ask.at_scale(scale), last.at_scale(scale), LAST_OFF_BOOK_BPS)


def read_ticker(
    symbol: str,
    bid: msgspec.Raw,
    ask: msgspec.Raw,
    last: msgspec.Raw,
    time: msgspec.Raw = NULL,
    read_time: ReadTime = time_of_integer,
    named: str = "",
) -> list[Event]:
    """The quote of a ticker's raw fields, or the refusal of this ticker alone.

    `named` is what the ticker calls itself where `symbol` is what it should be.
    """
    try:
        if not symbol:
            raise BadFieldError("missing_field", "symbol")
        if named and named != symbol:
            raise BadFieldError("unknown_symbol", f"it is about {named[:40]}")
        return make_quote(symbol, price_of(bid, "bid"), price_of(ask, "ask"), price_of(last, "last"), read_time(time))
    except BadFieldError as error:
        return [refusal(error, symbol)]


def tickers_of(events: list[Event]) -> list[Event]:
    """`events` of the tickers of a frame; a frame of prices without any is refused."""
    if not events:
        raise BadFieldError("missing_field", "no ticker in a frame of tickers")
    return events


def refusal(error: BadFieldError, symbol: str = "") -> Refusal:
    """The event of a field that could not be used."""
    return Refusal(error.reason, error.detail, symbol or None)


def refuse_rest(request: RestRequest, status: int, body: bytes, unknown: re.Pattern[str]) -> list[Event]:
    """What a REST answer of an error means: an unknown symbol when it was asked for alone and the body says so.

    The body must be the service's own, an object of JSON: a page of a gateway or of a maintenance says "not found" too.
    """
    text = str(body[:500], "utf-8", "replace")
    symbol = request.symbols[0] if len(request.symbols) == 1 else None
    is_told = status in (HTTP_OK, *_HTTP_UNKNOWN) and unknown.search(text) and _is_object(body)
    if symbol is not None and is_told:
        return [UnknownSymbol(symbol)]
    return [Refusal("exchange_error", f"HTTP {status}: {text[:200]}", symbol)]


def _is_object(body: bytes) -> bool:
    try:
        _OBJECT.decode(body)
    except _UNDECODABLE:
        return False
    return True


def refuse_missing(request: RestRequest, events: list[Event]) -> list[Event]:
    """`events` and a refusal for each symbol that was asked for and is in none of them."""
    found = {event.symbol for event in events if isinstance(event, Quote | Refusal)}
    missing = [symbol for symbol in request.symbols if symbol not in found]
    return events + [Refusal("unknown_symbol", "not in the answer", symbol) for symbol in missing]
