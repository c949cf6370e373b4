"""feeds/simulator/beyond.py, and what the boards and the server make of it."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from feeds.exchanges.contract import Listed, Quote
from feeds.exchanges.registry import EXCHANGE_MODULES
from feeds.simulator.beyond import FURTHER_ASSETS, further_markets
from trinity.markets import load_catalog
from trinity.vocabulary import EXCHANGES


def test_most_further_assets_are_on_enough_exchanges_for_a_price_and_the_draw_is_always_the_same() -> None:
    """Most further assets are on enough exchanges for a price and the draw is always the same."""
    catalog = load_catalog()
    markets = further_markets(catalog)
    counts = Counter(market.asset for market in markets)
    assert len(FURTHER_ASSETS) == 400
    assert Counter(count < 3 for count in counts.values()) == {False: 380, True: 20}
    assert markets == further_markets(catalog)
    quotes = {market.exchange: market.quote for market in catalog.markets}
    assert all(market.quote == quotes[market.exchange] for market in markets)


@pytest.mark.parametrize("name", EXCHANGES)
async def test_each_simulated_exchange_lists_and_answers_its_further_markets(running: Any, name: str) -> None:
    """By the exchange's own decoder: what it lists is what it answers."""
    module = EXCHANGE_MODULES[name]
    status, body = await running.get(f"/{name}{module.listing_request().path}")
    listed = module.on_listing(status, json.dumps(body).encode())
    assert isinstance(listed, Listed)
    further = {market for market in further_markets(running.simulator.catalog) if market.exchange == name}
    assert {(market.asset, market.quote) for market in further} <= listed.markets
    market = min(further, key=lambda one: one.asset)
    request = module.rest_requests([module.symbol_of(market)])[0]
    status, answer = await running.get(f"/{name}{request.path}")
    (quote,) = module.on_rest(request, status, json.dumps(answer).encode())
    assert isinstance(quote, Quote)


def test_a_further_market_quotes_the_same_for_a_while_and_all_the_time_once_it_is_subscribed(
    make_bench: Callable[[str], Any], at: Callable[[float], Any], rows: list[Any]
) -> None:
    """A further market quotes the same for a while and all the time once it is subscribed."""
    bench = make_bench("kraken")
    further = rows[0]._replace(position=1_000, exchange="kraken", asset="SIM001", currency="USD", symbol="SIM001/USD")
    bench.board.further["SIM001/USD"] = further
    first = bench.board.answered(further, at(1))
    assert bench.board.answered(further, at(1.1)) == first
    assert bench.board.answered(further, at(2)).number > first.number
    assert further not in bench.market.rows
    assert bench.board.subscribe("SIM001/USD") is further
    assert any(quote.row is further for quote in bench.market.advance(at(2)))
    assert bench.board.subscribe("NONE/USD") is None


async def test_questions_are_counted_and_wait_while_rest_hangs(running: Any) -> None:
    """Questions are counted and wait while rest hangs."""
    path = "/kraken/0/public/Ticker?pair=XBTUSD"
    await running.get(path)
    _, before = await running.get("/")
    assert before["exchanges"]["kraken"]["rest_requests"] == 1
    await running.fault(exchange="kraken", fault="rest_hang", seconds=0.3)
    status, _ = await running.get(path)
    _, faults = await running.get("/faults")
    assert (status, faults["faults"]) == (200, []), "it answered when the fault was over"
