"""Rows that an exchange does not know, or hands to a connection that dies: over real sockets."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any

import pytest
from aiohttp import web
from websockets.asyncio.server import ServerConnection, serve

from feeds.exchanges.registry import EXCHANGE_MODULES
from feeds.ingest import connection, rows
from feeds.ingest.process import Feed
from feeds.simulator.server import Simulator
from tests.support.contexts import OpenContext
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import FeedsSection, SimulatorSection
from trinity.memory.price_table import Absence, LeftOut, RowState, Via

Until = Callable[..., Awaitable[None]]
BTC, ETH, SOL = range(3)
LEFT_OUT = "symbol unknown to the exchange, left out"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left out is asked for again after a second, what is not acknowledged is late after one."""
    monkeypatch.setattr(rows, "ASK_AGAIN_SECONDS", 1.0)
    monkeypatch.setattr(rows, "ASK_AGAIN_CAP_SECONDS", 2.0)
    monkeypatch.setattr(connection, "_ACKNOWLEDGE_NS", NS_PER_SECOND)


async def test_an_unknown_symbol_is_asked_for_again(venue: Any, start_feed: Any, until: Until, soon: None) -> None:
    """The exchange lists it a moment later: it is live over the same connection, without a restart."""
    venue.unknown = {"ETH-USD": True}
    run = start_feed()
    await until(lambda: run.via(BTC) is Via.WS and run.state(ETH) is RowState.UNKNOWN)
    assert run.context.prices.read_left_out(0, ETH) == LeftOut(ws=Absence.UNKNOWN_SYMBOL)
    await until(lambda: venue.received.count(["subscribe", "ETH-USD"]) >= 1)
    venue.unknown = {}
    await until(lambda: run.via(ETH) is Via.WS, 30)
    assert run.context.prices.read_left_out(0, ETH) == LeftOut()
    assert venue.opened == 1


async def test_a_dying_successor_gives_its_rows_back(venue: Any, start_feed: Any, until: Until) -> None:
    """It delivered one quote for one row and is gone: the old connection, still good, goes on with that row."""
    run = start_feed()
    await until(lambda: all(run.via(asset) is Via.WS for asset in range(3)))
    old = venue.sockets[0]
    venue.silent_symbols |= {"ETH-USD", "SOL-USD"}  # so that the successor is not promoted at once
    await old.send('["reconnect", "planned"]')
    await until(lambda: venue.opened >= 2 and run.feed._rows.get("BTC-USD").connection_serial == 2)
    venue.is_refusing = True
    await next(socket for socket in venue.sockets if socket is not old).close()
    seen = run.quote(BTC).newest.received_at_ns
    await until(lambda: run.quote(BTC).newest.received_at_ns > seen + NS_PER_SECOND // 2 and run.via(BTC) is Via.WS)
    assert old in venue.sockets


async def test_a_successor_that_falls_silent_gives_its_rows_back(venue: Any, start_feed: Any, until: Until) -> None:
    """Nobody closed it, yet after some seconds without a quote the old connection writes again, and is not replaced."""
    run = start_feed()
    await until(lambda: all(run.via(asset) is Via.WS for asset in range(3)))
    venue.rest_status = 500
    old = venue.sockets[0]
    venue.silent_symbols |= {"ETH-USD", "SOL-USD"}  # so that the successor is not promoted at once
    await old.send('["reconnect", "planned"]')
    await until(lambda: run.feed._rows.get("BTC-USD").connection_serial == 2)

    async def say_nothing(_message: str) -> None:
        pass

    next(socket for socket in venue.sockets if socket is not old).send = say_nothing
    seen = run.quote(BTC).newest.received_at_ns
    await until(lambda: run.quote(BTC).newest.received_at_ns > seen + 5 * NS_PER_SECOND)
    assert run.via(BTC) is Via.WS
    assert old in venue.sockets


class ListedCoinbase:
    """Coinbase's WebSocket and REST as far as a feed sees them: it knows some products and passes over the others."""

    def __init__(self, products: set[str]) -> None:
        self.products = products
        self.errors: list[str] = []
        self.rest_answer = web.Response
        self.page = b'{"message":"NotFound"}'
        self.asked: list[str] = []

    async def on_socket(self, socket: ServerConnection) -> None:
        taken: list[str] = []
        beats = asyncio.create_task(self._send(socket, taken))
        try:
            async for text in socket:
                message = json.loads(text)
                taken += [one for one in message.get("product_ids", []) if one in self.products and one not in taken]
                for error in self.errors:
                    await socket.send(json.dumps({"type": "error", "message": error}))
                state = {"ticker": taken, "heartbeats": ["heartbeats"]}
                await socket.send(json.dumps({"channel": "subscriptions", "events": [{"subscriptions": state}]}))
        finally:
            beats.cancel()

    async def _send(self, socket: ServerConnection, taken: list[str]) -> None:
        while True:
            for product in taken:
                ticker = {"product_id": product, "price": "100.1", "best_bid": "100", "best_ask": "100.2"}
                await socket.send(
                    json.dumps({"channel": "ticker", "events": [{"type": "update", "tickers": [ticker]}]})
                )
            await asyncio.sleep(0.1)

    async def on_get(self, request: web.Request) -> web.Response:
        product = request.match_info["product"]
        self.asked.append(product)
        if product not in self.products:
            return web.Response(status=404, body=self.page)
        return web.json_response({"price": "100.1", "bid": "100", "ask": "100.2"})


class _Running:
    def __init__(self, coinbase: ListedCoinbase, context: OpenContext, feed: Feed) -> None:
        self.coinbase, self.context, self.feed = coinbase, context, feed

    def left_out(self, asset: int) -> LeftOut:
        return self.context.prices.read_left_out(0, asset)

    def via(self, asset: int) -> Via:
        quote = self.context.prices.read(0, asset)
        return Via.NONE if quote is None else quote.via


@pytest.fixture
async def coinbase(
    make_context: Callable[..., OpenContext], soon: None
) -> AsyncIterator[Callable[..., Awaitable[_Running]]]:
    """Starts Coinbase's own decoder against a server that knows two of the three products; in kraken's rows."""
    running: list[tuple[Feed, asyncio.Task[None]]] = []
    stubs = []

    async def start(change: Callable[[ListedCoinbase], None] = lambda _: None) -> _Running:
        stub = ListedCoinbase({"BTC-USD", "ETH-USD"})
        change(stub)
        server = await serve(stub.on_socket, "127.0.0.1", 0)
        app = web.Application()
        app.router.add_get("/products/{product}/ticker", stub.on_get)
        site = web.AppRunner(app)
        await site.setup()
        await web.TCPSite(site, "127.0.0.1", 0).start()
        stubs.append((server, site))
        config = FeedsSection(
            simulated=True,
            ws_base_urls={"kraken": f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"},
            rest_base_urls={"kraken": f"http://127.0.0.1:{site.addresses[0][1]}"},
        )
        context = make_context()
        feed = Feed(context, context.of_feed, config, "kraken", EXCHANGE_MODULES["coinbase"], Random(1))
        running.append((feed, asyncio.create_task(feed.serve())))
        return _Running(stub, context, feed)

    yield start
    for feed, task in running:
        feed.stop()
        await task
    for server, site in stubs:
        server.close()
        await server.wait_closed()
        await site.cleanup()


async def test_what_coinbase_leaves_out_of_its_acknowledgement_is_named(
    coinbase: Any, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """In the table with its reason and once in the log; it comes back by itself when the exchange lists it."""
    caplog.set_level(logging.INFO)
    run = await coinbase()
    await until(lambda: run.left_out(SOL) == LeftOut(Absence.NOT_ACKNOWLEDGED, Absence.UNKNOWN_SYMBOL))
    assert run.left_out(BTC) == run.left_out(ETH) == LeftOut()
    told = [record.__dict__["fields"] for record in caplog.records if record.getMessage() == LEFT_OUT]
    assert {fields["symbol"] for fields in told} == {"SOL-USD"}
    assert any(fields.get("ws") == "not_acknowledged" for fields in told)
    run.coinbase.products.add("SOL-USD")
    await until(lambda: run.left_out(SOL) == LeftOut() and run.via(SOL) is Via.WS, 30)


async def test_an_error_that_names_a_product_is_not_yet_a_delisting(coinbase: Any, until: Until) -> None:
    """Only the sentence that says so counts; a limit that was met leaves every product in."""

    def complain(stub: ListedCoinbase) -> None:
        stub.products.add("SOL-USD")
        stub.errors = ["rate limit exceeded for SOL-USD", "SOL-USD: too many subscriptions"]

    run = await coinbase(complain)
    await until(lambda: all(run.via(asset) is Via.WS for asset in range(3)))
    assert run.left_out(SOL) == LeftOut()


@pytest.mark.parametrize("page", [b"<html><h1>404 Not Found</h1></html>", b'{"message":"Not Found"}', b"NotFound", b""])
async def test_a_page_that_is_not_the_exchanges_word_leaves_rest_on(coinbase: Any, until: Until, page: bytes) -> None:
    """A gateway answers 404 to every product: they go on to be asked for, and answers count once they come."""

    def only_pages(stub: ListedCoinbase) -> None:
        stub.page, stub.products = page, set()

    run = await coinbase(only_pages)
    await until(lambda: len(run.coinbase.asked) >= 4, 30)
    assert all(run.left_out(asset).rest is Absence.NONE for asset in range(3))
    run.coinbase.products |= {"BTC-USD", "ETH-USD", "SOL-USD"}
    await until(lambda: all(run.via(asset) is not Via.NONE for asset in range(3)), 40)


@pytest.mark.parametrize("name", ["kraken", "okx", "gemini"])
async def test_each_simulated_exchange_tells_its_unknown_symbol(
    name: str, make_context: Callable[..., OpenContext], until: Until, soon: None
) -> None:
    """One symbol is nowhere listed: its row has its reason, the others are as ever, for each of three exchanges."""
    context = make_context()
    section = SimulatorSection(quotes_per_second=100)
    async with Simulator(context.catalog, section, "127.0.0.1", SystemClock(), context.log) as simulator:
        base = f"127.0.0.1:{simulator.port}/{name}"
        config = FeedsSection(
            simulated=True, ws_base_urls={name: f"ws://{base}"}, rest_base_urls={name: f"http://{base}"}
        )
        index = context.catalog.exchange_index(name)
        feed = Feed(context, context.of_feed, config, name, EXCHANGE_MODULES[name], Random(1))
        row = feed._rows._by_symbol.pop(EXCHANGE_MODULES[name].symbol_of(context.catalog.markets_of(name)[SOL]))
        row.symbol = row.symbol.replace("SOL", "NOPE").replace("sol", "nope")
        feed._rows._by_symbol[row.symbol] = row
        serving = asyncio.create_task(feed.serve())
        await until(lambda: context.prices.read_left_out(index, SOL).ws is not Absence.NONE, 30)
        assert context.prices.read_left_out(index, BTC) == LeftOut()
        feed.stop()
        await serving
