"""The simulated exchanges' server: one HTTP port for all, the loop that moves the market, the fault endpoints.

    ws://HOST:PORT/<exchange><the real socket path>      http://HOST:PORT/<exchange><the real REST path>
    GET / says what this is; POST, GET and DELETE /faults steer what goes wrong; GET /market says what is true

Rules: this file pumps between sockets and the pure parts, and is the only one here that knows asyncio's loop. It is
plainly marked as simulated, and nothing starts it unasked: `trinity demo` and `trinity simulate` do.
"""

import asyncio
import errno
import logging
import random
import signal
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from aiohttp import WSMsgType, web

from feeds.simulator.beyond import further_markets
from feeds.simulator.board import ExchangeBoard
from feeds.simulator.connection import CLOSE_SECONDS_MAX, SimulatedConnection
from feeds.simulator.faults import FaultError, FaultTable, decode_request, public_view
from feeds.simulator.market import Instant, MarketRow, SimulatedMarket, decimals_of
from feeds.simulator.rates import Buckets
from feeds.simulator.venue import RestCall, RestReply, Route, Session, Venue, to_json
from feeds.simulator.venues import VENUES
from trinity.clock import NS_PER_MS, Clock
from trinity.config import SimulatorSection
from trinity.errors import PortTakenError
from trinity.limits import FRAME_BYTES_MAX
from trinity.markets import Catalog, Market
from trinity.net.ports import bind_socket, host_in_url
from trinity.process import ProcessContext

# The market moves when the next quote is due, so that quotes leave one by one, at the time that is in them; at the
# highest rate a step of 1 ms makes five, and a slow market still looks at its timers every 20 ms.
STEP_SECONDS_MIN = 0.001
STEP_SECONDS_MAX = 0.02
TIMER_NS = 100 * NS_PER_MS
BEAT_NS = 200 * NS_PER_MS
FAULT_BODY_BYTES_MAX = 64 * 1024

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def run(context: ProcessContext, config: SimulatorSection, bind_host: str) -> None:
    """The simulated exchanges as a process of the node: until SIGTERM; PortTakenError when the port is in use."""
    simulator = Simulator(context.catalog, config, bind_host, context.clock, context.log)
    asyncio.run(_serve(simulator, config.port, lambda now_ns: context.block.beat(now_ns)))


def run_standalone(
    catalog: Catalog, config: SimulatorSection, bind_host: str, clock: Clock, log: logging.Logger
) -> None:
    """The simulated exchanges alone (`trinity simulate`): until SIGTERM or SIGINT; PortTakenError as in `run`."""
    asyncio.run(_serve(Simulator(catalog, config, bind_host, clock, log), config.port, lambda _: None))


async def _serve(simulator: "Simulator", port: int, beat: Callable[[int], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await simulator.start(port, beat)
    pump_ended = simulator.pump
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({pump_ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await simulator.stop()


class Simulator:
    """All simulated exchanges of a catalog. `port` is the real one after `start`, also for `start(0)`.

    In a test:  async with Simulator(catalog, config, "127.0.0.1", clock, log) as simulator: ... simulator.port
    """

    def __init__(
        self, catalog: Catalog, config: SimulatorSection, bind_host: str, clock: Clock, log: logging.Logger
    ) -> None:
        self.port = 0
        self.catalog = catalog
        self._config = config
        self._bind_host = bind_host
        self._clock = clock
        self._log = log
        self._rng = random.Random(config.seed)
        self._venues = {name: VENUES[name] for name in catalog.exchanges}
        markets = [*catalog.markets, *further_markets(catalog)]
        self.faults = FaultTable(
            {name: frozenset(m.asset for m in markets if m.exchange == name) for name in self._venues}
        )
        rows = _rows_of(markets, self._venues)
        listed, further = rows[: len(catalog.markets)], rows[len(catalog.markets) :]
        self.market = SimulatedMarket(listed, config.quotes_per_second, random.Random(config.seed), self._now())
        self._boards = {name: ExchangeBoard(name, self.market, self.faults, further) for name in self._venues}
        self._asked: dict[str, int] = dict.fromkeys(self._venues, 0)
        self._connections: dict[str, set[SimulatedConnection]] = {name: set() for name in self._venues}
        self._buckets = Buckets()
        self._runner: web.AppRunner | None = None
        self.pump: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, port: int = 0, beat: Callable[[int], None] = lambda _: None) -> None:
        """Listen and let the market move; PortTakenError when the port is in use. `beat` gets monotonic ns."""
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=CLOSE_SECONDS_MAX)
        await self._runner.setup()
        try:
            await web.SockSite(self._runner, bind_socket(self._bind_host, port, socket.SOCK_STREAM)).start()
        except OSError as error:
            await self._runner.cleanup()
            if error.errno == errno.EADDRINUSE:
                raise PortTakenError("SIMULATOR_PORT", self._bind_host, port) from None
            raise
        self.port = self._runner.addresses[0][1]
        self.pump = asyncio.create_task(self._pump(beat))
        fields = {"simulated": True, "exchanges": list(self._venues), "port": self.port, "seed": self._config.seed}
        self._log.info("SIMULATED exchanges are serving: no price here is real", extra={"fields": fields})

    async def stop(self) -> None:
        """Close every connection and the port; an error of the pump comes out here."""
        assert self._runner is not None
        pump_failed = self.pump.done()
        self.pump.cancel()
        for connection in [one for held in self._connections.values() for one in held]:
            await connection.close()
        await self._runner.cleanup()
        if pump_failed:
            await self.pump

    # --- the market moves ----------------------------------------------------------------------------------

    async def _pump(self, beat: Callable[[int], None]) -> None:
        timers_at_ns = beat_at_ns = 0
        step_seconds = min(STEP_SECONDS_MAX, max(STEP_SECONDS_MIN, 1.0 / self._config.quotes_per_second))
        while True:
            now = self._now()
            for quote in self.market.advance(now):
                exchange = quote.row.exchange
                connections = self._connections[exchange]
                streamed = self._boards[exchange].on_quote(quote, now)
                if streamed is None or not connections:
                    continue
                frames: dict[str, str] = {}
                for connection in connections:
                    connection.post(connection.session.on_quote(streamed, frames, now))
            if now.monotonic_ns - timers_at_ns >= TIMER_NS:
                timers_at_ns = now.monotonic_ns
                self._on_timer(now)
            if now.monotonic_ns - beat_at_ns >= BEAT_NS:
                beat_at_ns = now.monotonic_ns
                beat(now.monotonic_ns)
            await asyncio.sleep(step_seconds)

    def _on_timer(self, now: Instant) -> None:
        for exchange, connections in self._connections.items():
            self._close_if_faulty(exchange, now)
            for connection in connections:
                connection.post(connection.session.on_timer(now))

    def _close_if_faulty(self, exchange: str, now: Instant) -> None:
        names = {fault.fault for fault in self.faults.on(exchange, None, now.monotonic_ns)}
        if names & {"disconnect", "refuse"}:
            self._disconnect(exchange)

    def _disconnect(self, exchange: str) -> None:
        for connection in self._connections[exchange]:
            connection.abort()

    # --- sockets and REST ----------------------------------------------------------------------------------

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=FAULT_BODY_BYTES_MAX)
        app.router.add_get("/", self._describe)
        app.router.add_get("/market", self._show_market)
        app.router.add_post("/faults", self._add_fault)
        app.router.add_get("/faults", self._list_faults)
        app.router.add_delete("/faults", self._clear_faults)
        for venue in self._venues.values():
            for path, session in venue.sockets.items():
                app.router.add_get(path, self._socket_handler(venue, session))
            for route in venue.routes:
                app.router.add_get(f"/{venue.name}{route.path}", self._rest_handler(venue, route))
        return app

    def _socket_handler(self, venue: Venue, session_class: type[Session]) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            now = self._now()
            if self._fault(venue, "refuse", now):
                return web.Response(status=503, text="service unavailable")
            if self._buckets.take((venue.name, request.remote), venue.connect_limit, now.monotonic_ns) is None:
                return _response(venue.too_many)
            socket = web.WebSocketResponse(compress=False, max_msg_size=FRAME_BYTES_MAX, timeout=CLOSE_SECONDS_MAX)
            await socket.prepare(request)
            session = session_class(self._boards[venue.name], now, self._rng)
            connection = SimulatedConnection(session, socket, request.transport)
            connection.post(session.on_open(now))
            await self._converse(venue, connection, socket)
            return socket

        return handle

    async def _converse(self, venue: Venue, connection: SimulatedConnection, socket: web.WebSocketResponse) -> None:
        sender = asyncio.create_task(connection.send_all())
        self._connections[venue.name].add(connection)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    connection.post(connection.session.on_text(message.data, self._now()))
        finally:
            self._connections[venue.name].discard(connection)
            sender.cancel()

    def _rest_handler(self, venue: Venue, route: Route) -> Handler:
        board = self._boards[venue.name]

        async def handle(request: web.Request) -> web.StreamResponse:
            self._asked[venue.name] += 1
            if self._config.rest_delay_ms:
                await asyncio.sleep(self._config.rest_delay_ms / 1000)
            while self._fault(venue, "rest_hang", self._now()):
                await asyncio.sleep(STEP_SECONDS_MAX)
            now = self._now()
            if self._fault(venue, "rest_500", now):
                return _response(venue.broken)
            left = self._buckets.take((venue.name, request.remote), route.limit, now.monotonic_ns)
            if left is None or self._fault(venue, "rest_429", now):
                return _response(venue.too_many)
            query = {name: tuple(request.query.getall(name)) for name in request.query}
            return _response(route.answer(board, RestCall(request.match_info, query, now)))

        return handle

    def _fault(self, venue: Venue, name: str, now: Instant) -> bool:
        return self.faults.find(venue.name, None, name, now.monotonic_ns) is not None

    def _now(self) -> Instant:
        return Instant(self._clock.monotonic_ns(), self._clock.wall_ns())

    # --- what this is, and what goes wrong -----------------------------------------------------------------

    async def _describe(self, _: web.Request) -> web.Response:
        exchanges = {
            name: {
                "websocket": [f"ws://{host_in_url(self._bind_host)}:{self.port}{path}" for path in venue.sockets],
                "rest": f"http://{host_in_url(self._bind_host)}:{self.port}/{name}",
                "connections": len(self._connections[name]),
                "rest_requests": self._asked[name],
            }
            for name, venue in self._venues.items()
        }
        return _json(
            200,
            {
                "service": "simulated exchanges",
                "simulated": True,
                "seed": self._config.seed,
                "quotes_per_second": self._config.quotes_per_second,
                "exchanges": exchanges,
            },
        )

    async def _show_market(self, _: web.Request) -> web.Response:
        """What is true: the newest quote of every market as it was before any fault."""
        quotes = self.market.latest.values()
        markets = [
            {
                "exchange": quote.row.exchange,
                "asset": quote.row.asset,
                "currency": quote.row.currency,
                "bid": quote.bid,
                "ask": quote.ask,
                "last": quote.last,
            }
            for quote in quotes
        ]
        return _json(200, {"simulated": True, "markets": markets})

    async def _add_fault(self, request: web.Request) -> web.Response:
        """POST /faults {"exchange":"kraken","asset":"BTC","fault":"scale_price","value":1.1,"seconds":30}"""
        now = self._now()
        try:
            fault = self.faults.add(decode_request(await request.read()), now.monotonic_ns)
        except FaultError as error:
            return _json(400, {"error": {"code": "bad_fault", "message": str(error)}})
        if fault.fault == "rest_freeze":
            self._boards[fault.exchange].hold(fault, now)
        if fault.fault in ("disconnect", "refuse"):
            self._disconnect(fault.exchange)
        self._log.warning("fault set", extra={"fields": {"fault": fault._asdict()}})
        return _json(201, public_view(fault, now.monotonic_ns))

    async def _list_faults(self, _: web.Request) -> web.Response:
        now_ns = self._now().monotonic_ns
        return _json(200, {"faults": [public_view(fault, now_ns) for fault in self.faults.active(now_ns)]})

    async def _clear_faults(self, request: web.Request) -> web.Response:
        """DELETE /faults ends all, DELETE /faults?id=3 that one."""
        text = request.query.get("id")
        if text is not None and not (text.isascii() and text.isdigit()):
            return _json(400, {"error": {"code": "bad_fault", "message": "id: is not a whole number"}})
        cleared = self.faults.clear(None if text is None else int(text))
        if text is not None and not cleared:
            return _json(404, {"error": {"code": "unknown_fault", "message": f"id: no fault {text[:20]} is active"}})
        return _json(200, {"cleared": cleared})


def _rows_of(markets: Sequence[Market], venues: dict[str, Venue]) -> list[MarketRow]:
    return [
        MarketRow(
            index,
            market.exchange,
            market.asset,
            market.quote,
            venues[market.exchange].symbol_of(market),
            decimals_of(market.asset),
        )
        for index, market in enumerate(markets)
    ]


def _response(answer: RestReply) -> web.Response:
    return web.Response(
        status=answer.status, text=answer.body, headers=dict(answer.headers), content_type="application/json"
    )


def _json(status: int, value: dict[str, object]) -> web.Response:
    return web.Response(status=status, text=to_json(value), content_type="application/json")
