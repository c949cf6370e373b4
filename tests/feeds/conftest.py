"""A context over real shared memory, and a small exchange of our own over real sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import ClassVar

import pytest
from aiohttp import web
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from feeds.exchanges.contract import (
    Alive,
    BadFieldError,
    Event,
    Profile,
    Quote,
    Reconnect,
    Refusal,
    Reply,
    RestRequest,
    Subscribed,
    UnknownSymbol,
    parse_price,
)
from feeds.exchanges.frequent import make_memory
from feeds.exchanges.walk import make_form
from feeds.ingest.process import Feed
from tests.support.clocks import ManualClock
from tests.support.contexts import OpenContext, open_context
from tests.support.patience import PATIENCE
from tests.support.quotes import stored_quote
from trinity.clock import Clock, SystemClock
from trinity.config import FeedsSection
from trinity.markets import Asset, AssetRules, Catalog, Market
from trinity.memory.price_table import RowState, StoredQuote, Via
from trinity.observe.metrics import FEED

ASSETS = ("BTC", "ETH", "SOL")
EXCHANGES = ("kraken", "okx", "gemini")
RULES = AssetRules(max_age_ms=4000, min_sources=2, majority_window_bps=100, outlier_floor_bps=10, max_spread_bps=200)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def stub_exchange() -> "StubExchange":
    return StubExchange()


@pytest.fixture
def make_context() -> Iterator[Callable[..., OpenContext]]:
    """Makes the context of the feed `kraken` in a node of three exchanges and three assets."""
    with contextlib.ExitStack() as made:

        def make(own_clock: Clock | None = None, rules: AssetRules = RULES) -> OpenContext:
            markets = tuple(Market(exchange, asset, "USD") for exchange in EXCHANGES for asset in ASSETS)
            catalog = Catalog(EXCHANGES, tuple(Asset(asset, rules) for asset in ASSETS), markets)
            return made.enter_context(open_context("feed-kraken", "feed", catalog, own_clock))

        yield make


class StubDecoder:
    """Frames are JSON lists: [verb, ...]; each verb of the table below is one event of the contract."""

    VERBS: ClassVar[dict[str, Callable[..., Event]]] = {
        "alive": Alive,
        "reply": lambda frame: Reply(frame),
        "subscribed": lambda *symbols: Subscribed(symbols),
        "unknown": lambda symbol, whole: UnknownSymbol(symbol, whole),
        "reconnect": lambda reason: Reconnect(reason, "asked by the test"),
    }

    def __init__(self) -> None:
        self.memory = make_memory()

    def subscribe(self, symbols: Sequence[str], now_ns: int) -> list[str]:
        return [json.dumps(["subscribe", *symbols])]

    def on_frame(self, frame: bytes) -> list[Event]:
        try:
            verb, *rest = json.loads(frame)
        except ValueError:
            return [Refusal("not_json", repr(frame[:40]))]
        if verb == "quote":
            try:
                return [quote_of(*rest)]
            except BadFieldError as error:
                return [Refusal(error.reason, error.detail)]
        return [self.VERBS[verb](*rest)]

    def ping(self, now_ns: int) -> list[str]:
        return [json.dumps(["ping"])]


def quote_of(symbol: str, price: str, exchange_time_ns: int | None) -> Quote:
    middle = Decimal(price)
    bid, ask = (parse_price(str(middle + half).encode()) for half in (Decimal("-0.5"), Decimal("0.5")))
    return Quote(symbol, bid, ask, None, exchange_time_ns)


class StubExchange:
    """An exchange module of the contract; REST answers all symbols in one GET. No frame is a frequent one."""

    FREQUENT = make_form({})

    PROFILE = Profile(
        name="kraken",
        ws_url="ws://127.0.0.1:1",
        ws_path="/ws",
        rest_url="http://127.0.0.1:1",
        ping_seconds=0.5,
        silence_seconds=3.0,
        connect_gap_seconds=0.1,
        settle_seconds=0.0,
        rest_gap_seconds=0.1,
    )

    def symbol_of(self, market: Market) -> str:
        return f"{market.asset}-{market.quote}"

    def new_decoder(self) -> StubDecoder:
        return StubDecoder()

    def rest_requests(self, symbols: Sequence[str]) -> list[RestRequest]:
        return [RestRequest(f"/ticker?symbols={','.join(symbols)}", tuple(symbols))]

    def on_rest(self, request: RestRequest, status: int, body: bytes) -> list[Event]:
        if status == 404:
            return [UnknownSymbol(request.symbols[0])]
        if status != 200:
            return [Refusal("exchange_error", f"HTTP {status}")]
        try:
            return [quote_of(*parts) for parts in json.loads(body)]
        except ValueError:
            return [Refusal("not_json", repr(body[:40]))]


@dataclass
class StubVenue:
    """The server side: WebSocket and REST on loopback, steered by the test through its attributes."""

    prices: dict[str, float] = field(default_factory=lambda: {"BTC-USD": 70000.0, "ETH-USD": 3000.0, "SOL-USD": 200.0})
    unknown: dict[str, bool] = field(default_factory=dict)  # symbol -> the whole frame is refused with it
    is_sending: bool = True
    silent_symbols: set[str] = field(default_factory=set)
    is_refusing: bool = False
    is_chatty: bool = True  # answers pings
    rest_status: int = 200
    rest_unknown: str = ""
    rest_padding: int = 0
    rest_headers: dict[str, str] = field(default_factory=dict)
    has_time: bool = True
    time_offset_ns: int = 0
    sockets: list[ServerConnection] = field(default_factory=list)
    opened: int = 0
    received: list[list[str]] = field(default_factory=list)
    rest_paths: list[str] = field(default_factory=list)
    ws_base: str = ""
    rest_base: str = ""

    def quote(self, symbol: str) -> list[object]:
        time_ns = SystemClock().wall_ns() + self.time_offset_ns if self.has_time else None
        return [symbol, f"{self.prices[symbol]:.2f}", time_ns]

    def on_handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        return socket.respond(503, "down") if self.is_refusing else None

    async def on_socket(self, socket: ServerConnection) -> None:
        self.sockets.append(socket)
        self.opened += 1
        wanted: list[str] = []
        sender = asyncio.create_task(self._send(socket, wanted))
        try:
            async for text in socket:
                await self._on_text(socket, wanted, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            self.sockets.remove(socket)

    async def _on_text(self, socket: ServerConnection, wanted: list[str], message: list[str]) -> None:
        self.received.append(message)
        verb, *symbols = message
        if verb == "ping" and self.is_chatty:
            await socket.send(json.dumps(["alive"]))
        if verb != "subscribe":
            return
        for symbol in symbols:
            if symbol in self.unknown:
                await socket.send(json.dumps(["unknown", symbol, self.unknown[symbol]]))
                if self.unknown[symbol]:
                    return
        good = [symbol for symbol in symbols if symbol not in self.unknown]
        await socket.send(json.dumps(["subscribed", *good]))
        wanted.extend(good)

    async def _send(self, socket: ServerConnection, wanted: list[str]) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                for symbol in wanted if self.is_sending else []:
                    if symbol not in self.silent_symbols:
                        await socket.send(json.dumps(["quote", *self.quote(symbol)]))
                await asyncio.sleep(0.05)

    async def on_get(self, request: web.Request) -> web.Response:
        self.rest_paths.append(request.path_qs)
        symbols = request.query["symbols"].split(",")
        if self.rest_status != 200:
            return web.Response(status=self.rest_status, headers=self.rest_headers)
        if self.rest_unknown in symbols:
            return web.Response(status=404 if len(symbols) == 1 else 400)
        body = json.dumps([self.quote(symbol) for symbol in symbols])
        return web.Response(text=body + " " * self.rest_padding)


@pytest.fixture
async def venue() -> AsyncIterator[StubVenue]:
    stub = StubVenue()
    server: Server = await serve(stub.on_socket, "127.0.0.1", 0, process_request=stub.on_handshake)
    app = web.Application()
    app.router.add_get("/ticker", stub.on_get)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.ws_base = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    stub.rest_base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stub
    server.close()
    await server.wait_closed()
    await runner.cleanup()


@dataclass
class RunningFeed:
    """A feed under test, and what it wrote."""

    context: OpenContext
    feed: Feed
    task: "asyncio.Task[None]"

    def quote(self, asset: int) -> StoredQuote | None:
        return self.context.prices.read(0, asset)

    def via(self, asset: int) -> Via:
        quote = self.quote(asset)
        return Via.NONE if quote is None else quote.via

    def state(self, asset: int) -> RowState:
        return self.context.prices.read_state(0, asset)

    def counter(self, name: str, *labels: str) -> int:
        return self.context.block.read_counter(FEED.index(name, *labels))

    def gauge(self, name: str) -> float:
        return self.context.block.read_gauge(FEED.index(name))

    def write_others(self, asset: int, price: float) -> None:
        """The two other exchanges of the node say this price now."""
        clock = self.context.clock
        last = Decimal(f"{price:.2f}")
        for exchange in (1, 2):
            stored = stored_quote(None, None, last, None, clock.monotonic_ns(), clock.wall_ns(), Via.WS)
            self.context.prices.write(exchange, asset, stored)
            self.context.prices.write_state(exchange, asset, RowState.LIVE)


@pytest.fixture
async def start_feed(
    make_context: Callable[..., OpenContext], venue: StubVenue
) -> AsyncIterator[Callable[..., RunningFeed]]:
    """Starts the feed `kraken` against the stub venue; stopped at the end of the test."""
    running: list[RunningFeed] = []

    def start(exchange: StubExchange | None = None, rules: AssetRules = RULES) -> RunningFeed:
        context = make_context(rules=rules)
        config = FeedsSection(
            simulated=True, ws_base_urls={"kraken": venue.ws_base}, rest_base_urls={"kraken": venue.rest_base}
        )
        feed = Feed(context, context.of_feed, config, "kraken", exchange or StubExchange(), Random(1))
        running.append(RunningFeed(context, feed, asyncio.create_task(feed.serve())))
        return running[-1]

    yield start
    for one in running:
        one.feed.stop()
        await one.task


async def eventually(claim: Callable[[], object], seconds: float = 15.0) -> None:
    """Poll until the claim holds; the deadline is for a machine that is busy."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds * PATIENCE
    while not claim():
        assert loop.time() < deadline, "the claim did not come true in time"
        await asyncio.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., object]:
    """`eventually` for tests, which cannot import from a conftest."""
    return eventually
