"""feeds/resolver/hot.py and feeds/ingest/guests.py: what is hot is on the live sockets, and disturbs nobody there."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from random import Random

import pytest

from feeds.exchanges.registry import EXCHANGE_MODULES
from feeds.ingest.process import Feed
from tests.feeds.resolver.conftest import CATALOG, ON, ON_ALL, Bench
from tests.support.quotes import stored_quote
from trinity.config import FeedsSection
from trinity.limits import HOT_LOOKUPS
from trinity.memory.answer_table import AnswerState
from trinity.memory.asset_table import note_asked
from trinity.memory.price_table import ROW_VERSION_MASK, RowState, Via
from trinity.vocabulary import EXCHANGES

ASSET = ON_ALL[0]


@asynccontextmanager
async def feed_of(bench: Bench, name: str) -> AsyncIterator[Feed]:
    """The feed of one exchange, on its live socket."""
    address = f"127.0.0.1:{bench.simulator.port}/{name}"
    config = FeedsSection(
        simulated=True, ws_base_urls={name: f"ws://{address}"}, rest_base_urls={name: f"http://{address}"}
    )
    feed = Feed(bench.context, bench.context.of_feed, config, name, EXCHANGE_MODULES[name], Random(1))
    serving = asyncio.create_task(feed.serve())
    try:
        yield feed
    finally:
        feed.stop()
        await serving


def heat(bench: Bench, name: str) -> None:
    """As many lookups as make an asset hot."""
    cell = bench.cell(name)
    assert cell is not None
    for _ in range(HOT_LOOKUPS):
        note_asked(bench.context.memory.assets.words, cell.cell, bench.context.clock.monotonic_ns())


def index_of(bench: Bench, name: str) -> int:
    cell = bench.cell(name)
    assert cell is not None
    return len(CATALOG.assets) + cell.cell


async def test_a_hot_asset_is_subscribed_and_its_answer_comes_from_the_sockets(bench: Bench) -> None:
    await bench.start()
    await bench.ask(ASSET)
    assert json.loads(bench.body(ASSET, "kraken"))["via"] == "rest"
    async with feed_of(bench, "kraken"):
        heat(bench, ASSET)
        await bench.until(lambda: '"via":"ws"' in bench.body(ASSET, "kraken"))
        asset, kraken = index_of(bench, ASSET), CATALOG.exchange_index("kraken")
        cell = bench.cell(ASSET)
        assert cell is not None
        assert bench.context.prices.read_row_version(kraken, asset) == cell.version & ROW_VERSION_MASK
        first = bench.cell(ASSET).valid_until_ns  # type: ignore[union-attr]
        await bench.until(lambda: bench.cell(ASSET).valid_until_ns >= first)  # type: ignore[union-attr]
        assert bench.state(ASSET) is AnswerState.GOOD


@pytest.mark.parametrize("name", EXCHANGES)
async def test_a_guest_comes_and_goes_on_a_live_socket_and_the_catalog_s_rows_stay(bench: Bench, name: str) -> None:
    """On each exchange: subscribed, delivered, given up; one connection all the time."""
    await bench.start()
    await bench.ask(ASSET)
    await bench.stop()  # it would say for itself what is hot
    exchange, asset = CATALOG.exchange_index(name), index_of(bench, ASSET)
    cell = bench.cell(ASSET)
    assert cell is not None
    btc = CATALOG.asset_index("BTC")
    prices, assets = bench.context.prices, bench.context.memory.assets
    async with feed_of(bench, name) as feed:
        await bench.until(lambda: prices.read_state(exchange, btc) is RowState.LIVE)
        assets.set_hot(cell.cell, 1 << exchange)
        await bench.until(lambda: (quote := prices.read(exchange, asset)) is not None and quote.via is Via.WS)
        assert feed.connections == 1
        assets.set_hot(cell.cell, 0)
        await bench.until(lambda: prices.read_row_version(exchange, asset) == 0)
        assert prices.read(exchange, asset) is None or prices.read(exchange, asset).newest is None  # type: ignore[union-attr]
        assert prices.read_state(exchange, asset) is RowState.UNKNOWN
        assert feed.connections == 1


@pytest.mark.parametrize("name", EXCHANGES)
async def test_a_guest_that_the_exchange_does_not_know_takes_no_other_row_down(bench: Bench, name: str) -> None:
    await bench.start()
    unlisted = next(one for one, exchanges in ON.items() if name not in exchanges and len(exchanges) > 3)
    await bench.ask(unlisted)
    await bench.stop()  # it would say for itself what is hot
    exchange, asset = CATALOG.exchange_index(name), index_of(bench, unlisted)
    cell = bench.cell(unlisted)
    assert cell is not None
    catalog = [CATALOG.asset_index(market.asset) for market in CATALOG.markets_of(name)]
    prices = bench.context.prices
    bench.context.memory.assets.set_hot(cell.cell, 1 << exchange)
    async with feed_of(bench, name) as feed:
        waiting = (RowState.UNKNOWN, RowState.STARTING)
        await bench.until(lambda: prices.read_row_version(exchange, asset) != 0)
        await bench.until(lambda: all(prices.read_state(exchange, one) not in waiting for one in catalog))
        assert prices.read_state(exchange, asset) in waiting
        assert feed.connections == 1


async def test_quotes_of_a_former_asset_in_a_cell_are_never_taken_for_the_new_one(bench: Bench) -> None:
    """A feed that was held up goes on writing the former asset: its cell stands under another version."""
    await bench.start()
    await bench.ask(ASSET)
    before = bench.body(ASSET)
    kraken, asset = CATALOG.exchange_index("kraken"), index_of(bench, ASSET)
    clock, prices = bench.context.clock, bench.context.prices
    price = Decimal("7777.7")
    prices.write(kraken, asset, stored_quote(price, price, price, None, clock.monotonic_ns(), clock.wall_ns()))
    cell = bench.cell(ASSET)
    assert cell is not None
    prices.write_state(kraken, asset, RowState.LIVE, row_version=cell.version - 2)
    heat(bench, ASSET)
    await bench.until(lambda: bench.cell(ASSET).hot)  # type: ignore[union-attr]
    turn = bench.resolver.turns
    await bench.until(lambda: bench.resolver.turns > turn + 6)
    assert "7777.7" not in bench.body(ASSET, "kraken")
    assert json.loads(bench.body(ASSET))["rejected"] == json.loads(before)["rejected"]
    prices.write_state(kraken, asset, RowState.LIVE, row_version=cell.version)
    prices.write(kraken, asset, stored_quote(price, price, price, None, clock.monotonic_ns(), clock.wall_ns()))
    await bench.until(lambda: "7777.7" in bench.body(ASSET, "kraken"))
