"""`price:<ASSET>` over a real Valkey: asked first, written behind, and never in the way."""

import asyncio
import json
import time
from typing import Any

import pytest

from feeds.resolver.cached import BadCacheValueError, decode
from tests.feeds.resolver.conftest import ON_ALL, Bench
from trinity.cache.client import CacheClient
from trinity.cache.keys import PRICE
from trinity.limits import PRICE_CACHE_SECONDS
from trinity.memory.answer_table import AnswerState
from trinity.vocabulary import EXCHANGES

ASSET = ON_ALL[0]
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
    with pytest.raises(BadCacheValueError):
        read(value)


@pytest.mark.parametrize("value", [b"", b"{", b"\xff\xfe", b"[]", b"null", b"9" * 9_000, b"[" * 4_000])
def test_what_is_no_value_of_ours_counts_for_nothing(value: bytes) -> None:
    with pytest.raises(BadCacheValueError):
        decode(value, "ABC", CURRENCIES, NOW_NS, WALL_NS)


def cache_of(bench: Bench, server: Any) -> CacheClient:
    return CacheClient.open(server.settings, bench.context.clock)


async def test_what_one_node_asked_for_the_next_has_from_valkey_and_asks_nobody(
    bench: Bench, valkey_server: Any
) -> None:
    cache = cache_of(bench, valkey_server)
    await bench.start(cache)
    await bench.ask(ASSET)
    value = b""
    async with asyncio.timeout(20):
        while not value:
            value = await cache.get(PRICE.name(ASSET)) or b""
    assert {quote["exchange"] for quote in json.loads(value)["quotes"]} == set(EXCHANGES)
    (left,) = await cache.run([("TTL", PRICE.name(ASSET))])
    assert 0 < left <= PRICE_CACHE_SECONDS
    body = bench.body(ASSET)
    await bench.stop()
    bench.forget()  # another node: its tables are empty
    await cache.set(PRICE.name(ASSET), value, 60)
    await bench.start(cache)
    before = await bench.asked_over_rest()
    await bench.ask(ASSET)
    if bench.outcomes().get("cache"):  # the value's quotes had not reached their life's end on a slow machine
        assert await bench.asked_over_rest() == before
        assert json.loads(bench.body(ASSET))["price"] == json.loads(body)["price"]
    assert bench.state(ASSET) is AnswerState.GOOD
    await bench.stop()
    await cache.close()


@pytest.mark.parametrize("poison", [b"{}", b"\x00" * 50, b'{"v":1,"asset":"BTC","node":"x","quotes":[]}'])
async def test_a_poisoned_value_is_counted_and_the_exchanges_are_asked(
    bench: Bench, valkey_server: Any, poison: bytes
) -> None:
    cache = cache_of(bench, valkey_server)
    await cache.set(PRICE.name(ASSET), poison, 60)
    await bench.start(cache)
    await bench.ask(ASSET)
    assert bench.state(ASSET) is AnswerState.GOOD
    assert bench.outcomes() == {"rest": 1}
    assert bench.counter("price_cache_refused_total") == 1
    await bench.stop()
    await cache.close()


async def test_quotes_of_too_few_exchanges_make_no_price_of_a_cached_value(bench: Bench, valkey_server: Any) -> None:
    """A liar in Valkey with one exchange's name gets as far as that exchange alone would."""
    cache = cache_of(bench, valkey_server)
    quote = {"currency": "USD", "received_wall_ns": time.time_ns(), "bid": "9.01", "ask": "9.02", "last": "9.01"}
    value = {"v": 1, "asset": ASSET, "node": "x", "quotes": [{"exchange": "kraken", **quote}]}
    await cache.set(PRICE.name(ASSET), json.dumps(value), 60)
    await bench.start(cache)
    await bench.ask(ASSET)
    assert bench.outcomes() == {"rest": 1}
    assert '"price":9.0' not in bench.body(ASSET)
    await bench.stop()
    await cache.close()


async def test_a_paused_valkey_costs_a_miss_no_answer_and_then_nothing(bench: Bench, valkey_server: Any) -> None:
    cache = cache_of(bench, valkey_server)
    await bench.start(cache)
    valkey_server.pause()
    try:
        for name in ON_ALL[:4]:
            await bench.ask(name)
            assert bench.state(name) is not AnswerState.EMPTY
        assert not cache.is_up
    finally:
        valkey_server.resume()
    await bench.stop()
    await cache.close()
