"""A feed's process without its sockets: frames through the real decoder, connection and rows into the price table.

Rules: `check` does what the feed's loop does some times a second (judge the rows, judge the connection, replace it, ask
REST); the connection's own code is driven by hand, because nothing in it waits. What was written is told to the
invariants by the version of the cell.
"""

import heapq
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple

from websockets.frames import Frame, Opcode

from feeds.exchanges.contract import Quote, RestRequest, UnknownSymbol
from feeds.exchanges.registry import EXCHANGE_MODULES
from feeds.ingest.connection import Connection
from feeds.ingest.counters import FeedCounters
from feeds.ingest.rest import due_rows
from feeds.ingest.rows import Rows
from tests.simulation.exchanges import Made, Packet
from trinity.clock import NS_PER_MS
from trinity.native.octets import octets_of

if TYPE_CHECKING:
    from tests.simulation.world import World


# What one exchange says in some seconds, for whoever asks what was said so lately.
SAID_MAX = 400


class Written(NamedTuple):
    """What stands in a cell, as the world knows it: when we received it (true time), and how it was made."""

    received_ns: int
    made: Made


class FeedProcess:
    """One exchange's feed. `cells` outlives it, as the table does."""

    def __init__(self, world: "World", number: int) -> None:
        self._world = world
        self._number = number
        self._exchange = EXCHANGE_MODULES[world.catalog.exchanges[number]]
        self.name = f"feed-{world.catalog.exchanges[number]}"
        self.is_alive = False
        self.cells: dict[int, Written] = {}
        self.said: deque[tuple[int, Written]] = deque(maxlen=SAID_MAX)  # the newest of all assets, by asset
        self._prices: object = None
        self._serial = 0
        self.assets = sorted({world.catalog.asset_index(m.asset) for m in world.catalog.markets_of(self.name[5:])})
        self.forget()

    def forget(self) -> None:
        self._rows: Rows | None = None
        self._feed_counters: FeedCounters | None = None
        self._connection: Connection | None = None
        self._pending: list[tuple[int, int, RestRequest, int, bytes, int, dict[int, Made]]] = []
        self._world.market.sessions.pop(self._number, None)

    def start(self) -> None:
        context = self._world.context(self.name)
        self._context = context
        self._feed_counters = FeedCounters(context.block, context.log, context.clock.monotonic_ns())
        self._rows = Rows(
            context, self._world.of_feed(), self.name.removeprefix("feed-"), self._exchange, self._feed_counters
        )
        self._open()

    def receive(self, packet: Packet) -> None:
        """A frame came over a connection; one of an older connection is lost with it."""
        connection = self._connection
        if connection is None or connection.watch.serial != packet.serial:
            return
        before = self._versions()
        try:
            octets = octets_of(Frame(Opcode.TEXT, packet.frame.encode()).serialize(mask=False))
            assert connection._take_read(octets, 0, octets.size) == octets.size
            while not connection._to_say.empty():
                drive(connection._say_one(_Socket(self), connection._to_say.get_nowait()))  # type: ignore[arg-type]
        finally:
            self._note(before, dict([packet.made]) if packet.made is not None else {})

    def check(self) -> None:
        """A turn of the feed's loop."""
        clock, rows, counters = self._context.clock, self._rows, self._feed_counters
        assert rows is not None, "it lives"
        assert counters is not None, "it lives"
        now_ns = clock.monotonic_ns()
        self._context.block.beat(now_ns)
        self._world.beaten(self.name)
        self._take_answers()
        watch = self._connection.watch if self._connection is not None else None
        is_flowing = watch is not None and watch.is_flowing(now_ns)
        evidence = rows.judge(now_ns, clock.wall_ns(), is_flowing, watch is not None and watch.is_behind)
        counters.check(now_ns)
        counters.gauge("ws_connected", self._connection is not None)
        if self._connection is not None and watch is not None:
            verdict = watch.verdict(now_ns, evidence)
            if verdict is not None or self._connection.replace is not None:
                self._world.market.sessions.pop(self._number, None)
                self._connection = None
        if self._connection is None:
            self._open()

    def on_close(self, serial: int) -> None:
        """The exchange closed a connection."""
        if self._connection is not None and self._connection.watch.serial == serial:
            self._connection = None

    def ask_rest(self, late_ms: int) -> None:
        """Ask for the rows that want it; the answer arrives so much later."""
        if not self.is_alive or self._rows is None:
            return
        now_ns = self._context.clock.monotonic_ns()
        due = due_rows(iter(self._rows), now_ns)
        for request in self._exchange.rest_requests([row.symbol for row in due]) if due else ():
            answer = self._world.market.answer(self._number, request.path)
            for symbol in request.symbols:
                row = self._rows.get(symbol)
                if row is not None:
                    row.asked_at_ns = now_ns
            if answer is not None:
                made = {asset: self._world.market.made(self._number, asset) for asset in self.assets}
                entry = (now_ns + late_ms * NS_PER_MS, id(request), request, *answer, now_ns, made)
                heapq.heappush(self._pending, entry)

    def _take_answers(self) -> None:
        clock, rows = self._context.clock, self._rows
        assert rows is not None, "it lives"
        now_ns = clock.monotonic_ns()
        while self._pending and self._pending[0][0] <= now_ns:
            _, _, request, status, body, asked_ns, made = heapq.heappop(self._pending)
            before = self._versions()
            try:
                for event in self._exchange.on_rest(request, status, body):
                    assert not isinstance(event, UnknownSymbol), f"{request.path} is served: {status} {body[:80]!r}"
                    if isinstance(event, Quote):
                        rows.take_rest(event, now_ns, clock.wall_ns(), asked_ns)
            finally:
                self._note(before, made)

    def _open(self) -> None:
        self._serial += 1
        if not self._world.market.connect(self._number, self._serial):
            return
        rows, counters = self._rows, self._feed_counters
        assert rows is not None, "it lives"
        assert counters is not None, "it lives"
        now_ns = self._context.clock.monotonic_ns()
        for row in rows:
            row.watch.on_new_connection(now_ns)
        connection = Connection(self._context, self._world.wake_fd, self._exchange, "sim", rows, counters, self._serial)
        self._connection = connection
        connection.is_open = True
        connection.watch.on_open(now_ns)
        drive(connection._subscribe(_Socket(self), rows.known_symbols()))  # type: ignore[arg-type]

    def send(self, text: str) -> None:
        self._world.market.receive(self._number, self._serial, text)

    def _versions(self) -> list[int]:
        prices = self._world.prices
        if prices is not self._prices:
            self._prices = prices
            self._words = memoryview(prices.words).cast("B").cast("q")
            self._counters = [prices._cell(self._number, asset) for asset in self.assets]
        return [self._words[at] for at in self._counters]

    def _note(self, before: list[int], made: dict[int, Made]) -> None:
        now_ns = self._world.clock.true_ns
        for asset, old, new in zip(self.assets, before, self._versions(), strict=True):
            if old != new:
                known = made.get(asset) or self._world.market.made(self._number, asset)
                self.cells[asset] = Written(now_ns, known)
                self.said.append((asset, self.cells[asset]))


class _Socket:
    """The feed's end of its connection."""

    def __init__(self, feed: FeedProcess) -> None:
        self._feed = feed

    async def send(self, text: str) -> None:
        self._feed.send(text)


def drive(coroutine: Coroutine[Any, Any, object]) -> None:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise AssertionError("it waited")
