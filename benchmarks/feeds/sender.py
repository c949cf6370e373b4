"""One exchange that sends as many frames a second as it is told, evenly spread: what a client of it costs under load.

    python -m benchmarks.feeds.sender EXCHANGE PORT CONTROL_FILE

Rules: what it says is what the simulated exchange says (feeds/simulator), with a new price and the present time in each
frame, but no frame waits for the exchange's own pace. The control file holds words: the frames a second that are
wanted, and the frames that were sent. A client that falls behind blocks it: no frame is left out. No REST.
"""

import random
import select
import socket
import sys
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from benchmarks.feeds.control import SENT, WANTED, Control, open_control
from feeds.simulator.board import ExchangeBoard
from feeds.simulator.faults import FaultTable
from feeds.simulator.market import Instant, MarketRow, SimulatedMarket, SimulatedQuote, decimals_of
from feeds.simulator.venue import Out, SendPing, Session, Venue
from feeds.simulator.venues import VENUES
from trinity.clock import NS_PER_MS, NS_PER_SECOND, Clock, SystemClock
from trinity.markets import Catalog, load_catalog

_READ_BYTES = 65_536
# The clock that the market and the exchange's pace see: so much later with each quote that no pace is ever in the way.
_STEP_NS = 10 * NS_PER_SECOND
_TIMER_NS = 100 * NS_PER_MS
# A sender that was held up catches up with so many frames at the most; the rest are left out.
_BURST_NS = 20 * NS_PER_MS


class QuoteSource:
    """The exchange's markets, each quote another price at the present time."""

    def __init__(self, exchange: str, catalog: Catalog, clock: Clock) -> None:
        self.venue = VENUES[exchange]
        self._clock = clock
        rows = _rows_of(exchange, self.venue, catalog)
        assets = {exchange: frozenset(row.asset for row in rows)}
        self._now = Instant(clock.monotonic_ns(), clock.wall_ns())
        per_second = NS_PER_SECOND / _STEP_NS
        self._market = SimulatedMarket(rows, per_second, random.Random(1), self._now)
        self.board = ExchangeBoard(exchange, self._market, FaultTable(assets))

    def quotes(self) -> Iterator[tuple[SimulatedQuote, Instant]]:
        """Forever; each with the instant that its session is to see."""
        rows = list(self.board.rows.values())
        number = 0
        while True:
            self._now = Instant(self._now.monotonic_ns + _STEP_NS, self._clock.wall_ns())
            base = self._market.latest[rows[number % len(rows)].position]
            yield _moved(base, number, self._now.wall_ns), self._now
            number += 1


def _moved(base: SimulatedQuote, number: int, wall_ns: int) -> SimulatedQuote:
    """The n-th quote: another price than the one before it in all three fields, within a hundredth of a percent."""
    tick = 10.0**-base.row.decimals
    shift = tick * (number // 50 % 10)
    return base._replace(
        number=number, bid=base.bid + shift, ask=base.ask + shift, last=base.bid + shift, time_ns=wall_ns,
        traded=number % 2 == 0,
    )  # fmt: skip


def _rows_of(exchange: str, venue: Venue, catalog: Catalog) -> list[MarketRow]:
    markets = catalog.markets_of(exchange)
    return [
        MarketRow(i, exchange, market.asset, market.quote, venue.symbol_of(market), decimals_of(market.asset))
        for i, market in enumerate(markets)
    ]


class _Client:
    """One connection: its WebSocket and the exchange's session behind it. One that is gone costs itself alone."""

    def __init__(self, line: socket.socket, source: QuoteSource) -> None:
        self.is_gone = False
        self._line = line
        self._source = source
        self._protocol = ServerProtocol()
        self._session: Session | None = None

    def receive(self, now: Instant) -> None:
        """Answer what came."""
        try:
            octets = self._line.recv(_READ_BYTES)
        except OSError:
            octets = b""
        if octets:
            self._protocol.receive_data(octets)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._open(event, now)
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT and self._session is not None:
                self._send(self._session.on_text(bytes(event.data).decode(), now))
        self._flush()
        self.is_gone |= not octets or self._protocol.state is State.CLOSED

    def _open(self, request: Request, now: Instant) -> None:
        kind = self._source.venue.sockets.get(request.path.partition("?")[0])
        if kind is None:
            self._protocol.send_response(self._protocol.reject(HTTPStatus.NOT_FOUND, "a WebSocket alone\n"))
            return
        self._protocol.send_response(self._protocol.accept(request))
        self._session = kind(self._source.board, now, random.Random(1))
        self._send(self._session.on_open(now))

    def on_quote(self, quote: SimulatedQuote, frames: dict[str, str], now: Instant) -> int:
        """Send the frames of a quote; how many."""
        out = self._session.on_quote(quote, frames, now) if self._session is not None else []
        self._send(out)
        return len(out)

    def on_timer(self, now: Instant) -> None:
        """Heartbeats and pings; nobody is closed here."""
        if self._session is not None:
            self._send(self._session.on_timer(now))

    def _send(self, frames: list[Out]) -> None:
        if self._protocol.state is not State.OPEN:
            return
        for frame in frames:
            if isinstance(frame, str):
                self._protocol.send_text(frame.encode())
            elif isinstance(frame, SendPing):
                self._protocol.send_ping(b"")
        self._flush()

    def _flush(self) -> None:
        try:
            self._line.sendall(b"".join(self._protocol.data_to_send()))
        except OSError:
            self.is_gone = True


class Sender:
    """Serves one exchange on a listening socket until the process is ended."""

    def __init__(self, source: QuoteSource, listener: socket.socket, control: Control, clock: Clock) -> None:
        self._source = source
        self._listener = listener
        self._control = control
        self._clock = clock
        self._clients: dict[socket.socket, _Client] = {}
        self._timer_ns = self._due_ns = clock.monotonic_ns()

    def run(self) -> None:
        """Serve forever."""
        for quote, instant in self._source.quotes():
            self._wait()
            frames: dict[str, str] = {}
            sent = sum(client.on_quote(quote, frames, instant) for client in self._clients.values())
            self._control[SENT] += sent
            # Two frames of one quote take the time of two.
            self._due_ns += sent * NS_PER_SECOND // max(1, int(self._control[WANTED]))

    def _wait(self) -> None:
        """Until the next frame is due, answering meanwhile."""
        while True:
            now = Instant(self._clock.monotonic_ns(), self._clock.wall_ns())
            if now.monotonic_ns >= self._timer_ns:
                self._timer_ns = now.monotonic_ns + _TIMER_NS
                for client in self._clients.values():
                    client.on_timer(now)
            is_on = self._control[WANTED] > 0 and self._clients
            self._due_ns = max(self._due_ns, now.monotonic_ns - _BURST_NS) if is_on else now.monotonic_ns
            left_ns = max(0, (self._due_ns if is_on else self._timer_ns) - now.monotonic_ns)
            readable, _, _ = select.select([self._listener, *self._clients], [], [], left_ns / NS_PER_SECOND)
            for line in readable:
                self._on_readable(line, now)
            for line in [line for line, client in self._clients.items() if client.is_gone]:
                del self._clients[line]
                line.close()
            if is_on and left_ns == 0:
                return

    def _on_readable(self, line: socket.socket, now: Instant) -> None:
        if line is self._listener:
            accepted, _ = line.accept()
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[accepted] = _Client(accepted, self._source)
        else:
            self._clients[line].receive(now)


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    exchange, port, control_file = arguments
    clock = SystemClock()
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        control = open_control(Path(control_file), "r+")
        Sender(QuoteSource(exchange, load_catalog(), clock), listener, control, clock).run()


if __name__ == "__main__":
    main(sys.argv[1:])
