"""feeds/resolver/cached.py"""

import json
from decimal import Decimal
from typing import Any

import pytest

from feeds.resolver.cached import BadCacheValueError, CachedQuote, decode, encode
from tests.support.quotes import stored_quote
from trinity.limits import PRICE_CACHE_BYTES_MAX, PRICE_CACHE_SECONDS
from trinity.memory.price_table import Via

NOW_NS, WALL_NS = 10**15, 1_790_000_000 * 10**9
CURRENCIES = {"kraken": "USD", "okx": "USDT"}


def value_of(**changes: Any) -> dict[str, Any]:
    """A value as another node would have written it."""
    quote = {"currency": "USD", "received_wall_ns": WALL_NS, "bid": "1.01", "ask": "1.02", "last": "1.01"}
    return {"v": 1, "asset": "ABC", "node": "b", "quotes": [{"exchange": "kraken", **quote}]} | changes


def quote_with(**changes: Any) -> dict[str, Any]:
    return value_of(quotes=[value_of()["quotes"][0] | changes])


def read(value: dict[str, Any]) -> Any:
    return decode(json.dumps(value).encode(), "ABC", CURRENCIES, NOW_NS, WALL_NS + 2 * 10**9)


def test_a_value_gives_quotes_with_our_own_times() -> None:
    """A value gives quotes with our own times."""
    (quote,) = read(value_of()).values()
    assert quote.currency == "USD"
    assert quote.quote.bid.received_at_ns == NOW_NS - 2 * 10**9
    assert str(quote.quote.ask.price) == "1.02"


BAD = {
    "another version": value_of(v=2),
    "another asset": value_of(asset="BTC"),
    "one key more": value_of(price="1"),
    "no quotes": {"v": 1, "asset": "ABC", "node": "b"},
    "an exchange that does not list it": quote_with(exchange="gemini"),
    "another currency": quote_with(currency="USDT"),
    "an exchange twice": value_of(quotes=value_of()["quotes"] * 2),
    "older than its life": quote_with(received_wall_ns=WALL_NS - PRICE_CACHE_SECONDS * 10**9),
    "of the future": quote_with(received_wall_ns=WALL_NS + 3 * 10**9),
    "a negative price": quote_with(bid="-1.01"),
    "a zero": quote_with(ask="0"),
    "NaN": quote_with(last="NaN"),
    "too many digits": quote_with(last="1" * 19),
    "a number for a text": quote_with(last=1.01),
    "no time": quote_with(received_wall_ns=None),
    "a time before 1970": quote_with(exchange_time_ns=-1),
}


@pytest.mark.parametrize("value", BAD.values(), ids=list(BAD))
def test_a_value_with_anything_wrong_in_it_counts_for_nothing(value: dict[str, Any]) -> None:
    """A value with anything wrong in it counts for nothing."""
    with pytest.raises(BadCacheValueError):
        read(value)


@pytest.mark.parametrize("value", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"9" * 9_000, b"[" * 4_000])
def test_what_is_no_value_of_ours_counts_for_nothing(value: bytes) -> None:
    """What is no value of ours counts for nothing."""
    with pytest.raises(BadCacheValueError):
        decode(value, "ABC", CURRENCIES, NOW_NS, WALL_NS)


def test_what_is_written_is_what_is_read() -> None:
    """What is written is what is read, with all its digits."""
    bid, ask = Decimal("0.000012340"), Decimal("123456789012345678")
    quote = CachedQuote("USD", stored_quote(bid, ask, None, 7, NOW_NS, WALL_NS, via=Via.REST))
    value = encode("ABC", "a", {"kraken": quote})
    assert decode(value, "ABC", CURRENCIES, NOW_NS, WALL_NS) == {"kraken": quote}


def test_the_longest_value_of_ours_fits() -> None:
    """Six quotes with every number at full length."""
    price = Decimal("0." + "9" * 18)
    quote = CachedQuote("USDT", stored_quote(price, price, price, 2**63 - 1, NOW_NS, 2**63 - 1))
    names = ("cryptocom", "coinbase", "gateio", "gemini", "kraken", "okx")
    assert len(encode("A" * 16, "n" * 40, dict.fromkeys(names, quote))) < PRICE_CACHE_BYTES_MAX
