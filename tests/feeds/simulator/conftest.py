"""A small catalog, pure boards and sessions on a clock moved by hand, and a running simulator on a free port."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import pytest
from aiohttp import ClientSession
from websockets.asyncio.client import ClientConnection, connect

from feeds.simulator.board import ExchangeBoard
from feeds.simulator.faults import FaultTable
from feeds.simulator.market import NS_PER_SECOND, Instant, MarketRow, SimulatedMarket, SimulatedQuote, decimals_of
from feeds.simulator.server import Simulator
from feeds.simulator.venue import Out, Session
from feeds.simulator.venues import VENUES
from trinity.clock import SystemClock
from trinity.config import SimulatorSection
from trinity.markets import Asset, AssetRules, Catalog
from trinity.markets import Market as CatalogMarket

RULES = AssetRules(max_age_ms=10_000, min_sources=3, majority_window_bps=100, outlier_floor_bps=10, max_spread_bps=200)
START = Instant(1_000 * NS_PER_SECOND, 1_790_000_000 * NS_PER_SECOND)
DEADLINE_SECONDS = 60.0


def _catalog() -> Catalog:
    quotes = {"gateio": "USDT", "okx": "USDT"}
    markets = [
        CatalogMarket(name, asset, quotes.get(name, "USD")) for name in VENUES for asset in ("BTC", "ETH", "PEPE")
    ]
    markets += [CatalogMarket(name, "USDT", "USD") for name in VENUES if name not in quotes]
    markets += [CatalogMarket(name, "USDC", "USDT") for name in quotes]
    names = dict.fromkeys(market.asset for market in markets)
    return Catalog(tuple(VENUES), tuple(Asset(name, RULES) for name in names), tuple(markets))


@pytest.fixture
def catalog() -> Catalog:
    return _catalog()


@pytest.fixture
def at() -> Callable[[float], Instant]:
    """`at(5.1)`: both clocks 5.1 s after the start of the test."""
    return lambda seconds: Instant(*(clock_ns + round(seconds * NS_PER_SECOND) for clock_ns in START))


@pytest.fixture
def rows() -> list[MarketRow]:
    """The rows of the catalog, with the exchanges' own symbols."""
    return [
        MarketRow(
            position, one.exchange, one.asset, one.quote, VENUES[one.exchange].symbol_of(one), decimals_of(one.asset)
        )
        for position, one in enumerate(_catalog().markets)
    ]


class Bench:
    """One exchange on a clock moved by hand: `board`, `faults`, sessions, quotes made to measure."""

    def __init__(self, exchange: str, rows: list[MarketRow]) -> None:
        self.market = SimulatedMarket(rows, 100, Random(1), START)
        self.faults = FaultTable({name: frozenset({"BTC", "ETH", "PEPE", "USDT", "USDC"}) for name in VENUES})
        self.board = ExchangeBoard(exchange, self.market, self.faults)
        self.exchange = exchange

    def open(self, path: str | None = None) -> Session:
        sockets = VENUES[self.exchange].sockets
        return sockets[path or next(iter(sockets))](self.board, START, Random(2))

    def quote(self, symbol: str, **fields: Any) -> SimulatedQuote:
        return self.market.latest[self.board.rows[symbol].position]._replace(**fields)


def parsed(out: list[Out]) -> list[Any]:
    """JSON frames as values; pings and closes as they are."""
    return [json.loads(one) if isinstance(one, str) else one for one in out]


class Running:
    """A running simulator and a client of it."""

    def __init__(self, simulator: Simulator, http: ClientSession) -> None:
        self.simulator = simulator
        self.address = f"127.0.0.1:{simulator.port}"
        self._http = http

    async def connect(self, path: str) -> ClientConnection:
        """A socket that may ask at once: Crypto.com's has only the rest of the calendar second's requests."""
        left_seconds = 1 - time.time() % 1
        if left_seconds < 0.1:
            await asyncio.sleep(left_seconds)
        return await connect(f"ws://{self.address}{path}")

    async def get(self, path: str) -> tuple[int, Any]:
        async with self._http.get(f"http://{self.address}{path}") as answer:
            return answer.status, await answer.json(content_type=None)

    async def status(self, path: str) -> int:
        async with self._http.get(f"http://{self.address}{path}") as answer:
            return answer.status

    async def fault(self, **fields: Any) -> tuple[int, Any]:
        async with self._http.post(f"http://{self.address}/faults", json=fields) as answer:
            return answer.status, await answer.json()

    async def post_raw(self, body: bytes) -> tuple[int, Any]:
        async with self._http.post(f"http://{self.address}/faults", data=body) as answer:
            return answer.status, await answer.json()

    async def clear(self, query: str = "") -> tuple[int, Any]:
        async with self._http.delete(f"http://{self.address}/faults{query}") as answer:
            return answer.status, await answer.json()


async def find(socket: ClientConnection, wanted: Callable[[Any], Any], send: Any = None) -> Any:
    """The first JSON frame for which `wanted` is true, within the deadline."""
    if send is not None:
        await socket.send(json.dumps(send))
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for text in socket:
            frame = json.loads(text)
            if wanted(frame):
                return frame
    raise AssertionError("the socket closed before the frame came")


@pytest.fixture
def make_bench(rows: list[MarketRow]) -> Callable[[str], Bench]:
    return lambda exchange: Bench(exchange, rows)


@pytest.fixture
def frames_of() -> Callable[[list[Out]], list[Any]]:
    return parsed


@pytest.fixture
def find_frame() -> Callable[..., Any]:
    return find


@pytest.fixture
async def running(catalog: Catalog) -> AsyncIterator[Running]:
    """All six exchanges at 200 quotes a second over 24 markets, so that each moves eight times a second."""
    section = SimulatorSection(seed=7, quotes_per_second=200)
    log = logging.getLogger("test.simulator")
    async with Simulator(catalog, section, "127.0.0.1", SystemClock(), log) as simulator, ClientSession() as http:
        yield Running(simulator, http)
