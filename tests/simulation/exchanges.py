"""Six scripted exchanges: what is true, what each of them says of it, and the networks between them and the feeds.

The frames are those of the exchange simulator's sessions, in each exchange's own format. A lying exchange scales all
its markets by one factor, books, trades and stablecoin legs alike. A packet is a frame on its way: delivered at once,
late, twice or never, so frames may overtake each other.

Rules: `honest` remembers true prices for as long as anything that we serve may rest on them. What a packet says of when
and by whom its price was made is for the invariants; the feeds see bytes alone.
"""

import heapq
import random
from typing import TYPE_CHECKING, Any, NamedTuple

from feeds.exchanges.registry import EXCHANGE_MODULES
from feeds.simulator.board import ExchangeBoard
from feeds.simulator.faults import FaultTable
from feeds.simulator.market import Instant, MarketRow, SimulatedQuote, decimals_of, start_price
from feeds.simulator.venue import CloseSocket, RestCall, SendPing, Session
from feeds.simulator.venues import VENUES
from trinity.clock import NS_PER_MS, NS_PER_SECOND

if TYPE_CHECKING:
    from tests.simulation.world import World

# The oldest part of a served price: a quote of 30 s that came 5 s late, in a price converted by an index of the same
# age, which is then served for as long as it is good.
HONEST_NS = 120 * NS_PER_SECOND
ONCE, LOST, TWICE = range(3)  # fates of a frame; above these, the delay in ms
HALF_SPREAD = 0.00002
BPS = 10_000


class Made(NamedTuple):
    """When a price was made (true time), whether it is a lie, and what it says in USD."""

    at_ns: int
    is_lie: bool
    usd: float


class Packet(NamedTuple):
    due_ns: int
    number: int
    exchange: int
    serial: int
    frame: str
    made: tuple[int, Made] | None  # the asset and its price; None: it may carry any market's newest


class ScriptedMarket:
    """What boards need of a market: its rows and the newest quote of each."""

    def __init__(self, rows: tuple[MarketRow, ...]) -> None:
        self.rows = rows
        self.latest: dict[int, SimulatedQuote] = {}


class Exchanges:
    """All six, by the number of the catalog."""

    def __init__(self, world: "World") -> None:
        self._world = world
        catalog = world.catalog
        self.names = catalog.exchanges
        self.rows = tuple(
            MarketRow(i, m.exchange, m.asset, m.quote, VENUES[m.exchange].symbol_of(m), decimals_of(m.asset) + 1)
            for i, m in enumerate(catalog.markets)
        )
        self.rows_of = [[row for row in self.rows if row.exchange == name] for name in self.names]
        self.asset_of = {row.position: catalog.asset_index(row.asset) for row in self.rows}
        self._exchange_of = {row.position: self.names.index(row.exchange) for row in self.rows}
        self._market = ScriptedMarket(self.rows)
        no_faults = FaultTable({name: frozenset() for name in self.names})
        self._boards = [ExchangeBoard(name, self._market, no_faults) for name in self.names]  # type: ignore[arg-type]
        self.price = [start_price(asset.name) for asset in catalog.assets]
        self.honest: list[list[tuple[int, float]]] = [[(world.clock.true_ns, price)] for price in self.price]
        self.factor = [1.0] * len(self.names)
        self.lied_ns = -(10**18)  # when the newest lie was made
        self._skew_ns = [0] * len(self.names)
        self.is_away = [False] * len(self.names)
        self.sessions: dict[int, tuple[int, Session]] = {}  # exchange -> connection's number, its other end
        self._made: dict[int, Made] = {}
        self._packets: list[Packet] = []
        self._number = 0
        for row in self.rows:
            self._make(row, 0)

    # --- actions -------------------------------------------------------------------------------------------

    def quote(self, exchange: int, market: int, noise: int, fate: int) -> None:
        """A market of an exchange has a new quote, `noise` hundredths of a basis point off the truth."""
        rows = self.rows_of[exchange]
        row = rows[market % len(rows)]
        quote = self._make(row, noise)
        if self.is_away[exchange] or exchange not in self.sessions:
            return
        serial, session = self.sessions[exchange]
        made = self.asset_of[row.position], self._made[row.position]
        self._send(exchange, serial, session.on_quote(quote, {}, self.instant(exchange)), fate, made)

    def move(self, asset: int, tenths_of_bps: int) -> None:
        """The true price moves."""
        now_ns = self._world.clock.true_ns
        self.price[asset] *= 1 + tenths_of_bps / (10 * BPS)
        seen = self.honest[asset]
        seen.append((now_ns, self.price[asset]))
        while len(seen) > 1 and seen[1][0] < now_ns - HONEST_NS:
            seen.pop(0)

    def lie(self, exchange: int, bps: int) -> None:
        """From now on all that this exchange says is so much too high or low; 0: it is honest again."""
        self.factor[exchange] = 1 + bps / BPS

    def skew(self, exchange: int, ms: int) -> None:
        """The exchange's clock is wrong."""
        self._skew_ns[exchange] = ms * NS_PER_MS

    def away(self, exchange: int, is_away: int) -> None:
        """The exchange goes, with its connection, or is there again."""
        self.is_away[exchange] = bool(is_away)
        if is_away:
            self._close(exchange)

    def timer(self, exchange: int) -> None:
        """Heartbeats, deadlines and what was held back."""
        if exchange in self.sessions:
            serial, session = self.sessions[exchange]
            self._send(exchange, serial, session.on_timer(self.instant(exchange)), ONCE, None)

    # --- connections ---------------------------------------------------------------------------------------

    def connect(self, exchange: int, serial: int) -> bool:
        """A feed opens its connection `serial`; False while the exchange is away."""
        if self.is_away[exchange]:
            return False
        name = self.names[exchange]
        profile = EXCHANGE_MODULES[name].PROFILE
        sockets = VENUES[name].sockets
        kind = sockets.get(f"/{name}{profile.ws_path}") or next(iter(sockets.values()))
        session = kind(self._boards[exchange], self.instant(exchange), random.Random(serial))
        self.sessions[exchange] = serial, session
        self._send(exchange, serial, session.on_open(self.instant(exchange)), ONCE, None)
        return True

    def receive(self, exchange: int, serial: int, text: str) -> None:
        """The feed sent a frame."""
        if exchange in self.sessions and self.sessions[exchange][0] == serial:
            self._send(exchange, serial, self.sessions[exchange][1].on_text(text, self.instant(exchange)), ONCE, None)

    def close_all(self) -> None:
        self.sessions.clear()
        self._packets.clear()

    def _close(self, exchange: int) -> None:
        if exchange in self.sessions:
            serial, _ = self.sessions.pop(exchange)
            self._world.feeds[exchange].on_close(serial)

    def _send(self, exchange: int, serial: int, out: list[Any], fate: int, made: tuple[int, Made] | None) -> None:
        now_ns = self._world.clock.true_ns
        due_ns = now_ns + (fate * NS_PER_MS if fate > TWICE else 0)
        for item in out:
            if isinstance(item, CloseSocket):
                self._close(exchange)
            elif not isinstance(item, SendPing) and fate != LOST:
                for _ in range(2 if fate == TWICE else 1):
                    self._number += 1
                    heapq.heappush(self._packets, Packet(due_ns, self._number, exchange, serial, item, made))
        self.deliver_due()

    def deliver_due(self) -> None:
        """What has arrived by now, in the order of its arrival."""
        now_ns = self._world.clock.true_ns
        while self._packets and self._packets[0].due_ns <= now_ns:
            packet = heapq.heappop(self._packets)
            feed = self._world.feeds[packet.exchange]
            self._world.alive(feed.name, lambda feed=feed, packet=packet: feed.receive(packet))

    # --- REST ----------------------------------------------------------------------------------------------

    def answer(self, exchange: int, path: str) -> tuple[int, bytes] | None:
        """Status and body of a GET, as the exchange's route answers it; None while the exchange is away."""
        if self.is_away[exchange]:
            return None
        target, _, query = path.partition("?")
        values: dict[str, tuple[str, ...]] = {}
        for part in query.split("&") if query else []:
            name, _, value = part.partition("=")
            values[name] = (*values.get(name, ()), value.replace("%2F", "/").replace("%2C", ","))
        for row in self.rows_of[exchange]:
            self._make(row, 0)
        for route in VENUES[self.names[exchange]].routes:
            found = _match(route.path, target)
            if found is not None:
                answer = route.answer(self._boards[exchange], RestCall(found, values, self.instant(exchange)))
                return answer.status, answer.body.encode()
        return 404, b"{}"

    # --- what is true --------------------------------------------------------------------------------------

    def instant(self, exchange: int) -> Instant:
        """The exchange's own clocks."""
        clock = self._world.clock
        return Instant(clock.true_ns, clock.true_wall_ns() + self._skew_ns[exchange])

    def skew_ns(self, exchange: int) -> int:
        return self._skew_ns[exchange]

    def made(self, exchange: int, asset: int) -> Made:
        """Of the newest price that an exchange made for an asset."""
        return next(self._made[row.position] for row in self.rows_of[exchange] if self.asset_of[row.position] == asset)

    def _make(self, row: MarketRow, noise: int) -> SimulatedQuote:
        """The newest quote of a row: the truth, the exchange's factor, its noise and its spread."""
        exchange, asset = self._exchange_of[row.position], self.asset_of[row.position]
        if self.factor[exchange] != 1.0:
            self.lied_ns = self._world.clock.true_ns
        usd = middle = self.price[asset] * self.factor[exchange] * (1 + noise / (100 * BPS))
        if row.currency != "USD":
            # A lying USDT exchange has nothing but its USDT markets: whatever it says is scaled once.
            middle /= self.price[self._world.catalog.asset_index(row.currency)]
        bid, ask = middle * (1 - HALF_SPREAD), middle * (1 + HALF_SPREAD)
        bid = round(bid, row.decimals)
        ask = max(round(ask, row.decimals), round(bid + 10.0**-row.decimals, row.decimals))
        self._number += 1
        self._made[row.position] = Made(self._world.clock.true_ns, self.factor[exchange] != 1.0, usd)
        quote = SimulatedQuote(row, self._number, bid, ask, bid, self.instant(exchange).wall_ns, True)
        self._market.latest[row.position] = quote
        return quote


def _match(pattern: str, target: str) -> dict[str, str] | None:
    """The variable parts of a route's path, None when the target is another one."""
    expected, given = pattern.split("/"), target.split("/")
    if len(expected) != len(given):
        return None
    found = {}
    for want, have in zip(expected, given, strict=True):
        if want.startswith("{"):
            found[want.strip("{}")] = have
        elif want != have:
            return None
    return found
