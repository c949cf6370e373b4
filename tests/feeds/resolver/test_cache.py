"""`price:<ASSET>` over a real Valkey: asked first, written behind, and never in the way."""

import asyncio
import json
import time
from typing import Any

import pytest

from tests.feeds.resolver.asked_resolver import ON_ALL, Bench
from trinity.cache.client import CacheClient
from trinity.cache.keys import PRICE
from trinity.limits import PRICE_CACHE_SECONDS
from trinity.memory.answer_table import AnswerState
from trinity.vocabulary import EXCHANGES

ASSET = ON_ALL[0]


def cache_of(bench: Bench, server: Any) -> CacheClient:
    return CacheClient.open(server.settings, bench.context.clock)


async def test_what_one_node_asked_for_the_next_has_from_valkey_and_asks_nobody(
    bench: Bench, valkey_server: Any
) -> None:
    """What one node asked for the next has from valkey and asks nobody."""
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
    await bench.start(cache)
    # As if it had been written this moment, however long the start took.
    written = json.loads(value)
    for quote in written["quotes"]:
        quote["received_wall_ns"] = time.time_ns()
    before = await bench.asked_over_rest()
    await cache.set(PRICE.name(ASSET), json.dumps(written), 60)
    await bench.ask(ASSET)
    assert bench.outcomes() == {"rest": 1, "cache": 1}
    assert await bench.asked_over_rest() == before
    assert json.loads(bench.body(ASSET))["price"] == json.loads(body)["price"]
    assert bench.state(ASSET) is AnswerState.GOOD
    await bench.stop()
    await cache.close()


@pytest.mark.parametrize("poison", [b"{}", b"\x00" * 50, b'{"v":1,"asset":"BTC","node":"x","quotes":[]}'])
async def test_a_poisoned_value_is_counted_and_the_exchanges_are_asked(
    bench: Bench, valkey_server: Any, poison: bytes
) -> None:
    """A poisoned value is counted and the exchanges are asked."""
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
    """A paused valkey costs a miss no answer and then nothing."""
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
