"""`price:<ASSET>`: what the exchanges said of an asset to another node, as JSON. Pure.

    {"v":1,"asset":"ABC","node":"a","quotes":[{"exchange":"kraken","currency":"USD",
     "bid":"1.01","ask":"1.02","last":"1.01","exchange_time_ns":1790000000000000000,"received_wall_ns":...}]}

It holds quotes, not a price: consensus runs where it is read, by the same rules, so a value that lies or is old is
refused as a quote that lies or is old. Rules: read as any bad input; a value with anything wrong in it counts for
nothing at all. An age is taken by wall clocks, so a quote of the future, or one older than the value's life, is wrong.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

import msgspec

from feeds.exchanges.contract import BadFieldError, parse_price
from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.limits import PRICE_CACHE_BYTES_MAX, PRICE_CACHE_SECONDS
from trinity.memory.price_table import Side, StoredQuote, Via

VERSION = 1
# Nodes keep their clocks by NTP: milliseconds apart; a reading between two clocks may be off by this.
_AHEAD_NS = 100 * NS_PER_MS
_TIME_NS_MAX = 2**63 - 1


class _Quote(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    exchange: str
    currency: str
    received_wall_ns: int
    exchange_time_ns: int | None = None
    bid: str | None = None
    ask: str | None = None
    last: str | None = None


class _Value(msgspec.Struct, forbid_unknown_fields=True):
    v: int
    asset: str
    node: str
    quotes: list[_Quote]


class CachedQuote(NamedTuple):
    """One exchange's quote and the currency that it is in."""

    currency: str
    quote: StoredQuote


_VALUE = msgspec.json.Decoder(_Value)


class BadCacheValueError(Exception):
    """A value under `price:<ASSET>` that is none of ours, or too old to be one; `reason` says which part."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def encode(asset: str, node: str, quotes: Mapping[str, CachedQuote]) -> bytes:
    """The value of what was heard over REST: of each quote all sides have the same times."""
    listed = []
    for exchange, (currency, quote) in quotes.items():
        newest = quote.newest
        if newest is not None:
            times = newest.received_wall_ns, newest.exchange_time_ns
            listed.append(_Quote(exchange, currency, *times, _text(quote.bid), _text(quote.ask), _text(quote.last)))
    return msgspec.json.encode(_Value(VERSION, asset, node, listed))


def decode(
    value: bytes, asset: str, currencies: Mapping[str, str], now_ns: int, wall_ns: int
) -> dict[str, CachedQuote]:
    """The quotes by exchange, with our own clock's times; BadCacheValueError for anything else.

    `currencies` are the exchanges that may be in it and what each quotes in.
    """
    if len(value) > PRICE_CACHE_BYTES_MAX:
        raise BadCacheValueError("size")
    try:
        found = _VALUE.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadCacheValueError("form") from None
    if found.v != VERSION or found.asset != asset:
        raise BadCacheValueError("asset")
    quotes: dict[str, CachedQuote] = {}
    for quote in found.quotes:
        if quote.exchange in quotes or currencies.get(quote.exchange) != quote.currency:
            raise BadCacheValueError("exchange")
        quotes[quote.exchange] = CachedQuote(quote.currency, _stored(quote, now_ns, wall_ns))
    return quotes


def _stored(quote: _Quote, now_ns: int, wall_ns: int) -> StoredQuote:
    age_ns = wall_ns - quote.received_wall_ns
    if not -_AHEAD_NS <= age_ns <= PRICE_CACHE_SECONDS * NS_PER_SECOND:
        raise BadCacheValueError("age")
    if quote.exchange_time_ns is not None and not 0 < quote.exchange_time_ns <= _TIME_NS_MAX:
        raise BadCacheValueError("time")
    at_ns = now_ns - max(age_ns, 0)

    def side(text: str | None) -> Side | None:
        return Side(_price(text), quote.exchange_time_ns, at_ns, quote.received_wall_ns) if text is not None else None

    return StoredQuote(side(quote.bid), side(quote.ask), side(quote.last), Via.REST)


def _text(side: Side | None) -> str | None:
    return format(side.price, "f") if side is not None else None


def _price(text: str) -> Decimal:
    try:
        return parse_price(text.encode()).decimal
    except BadFieldError:
        raise BadCacheValueError("price") from None
