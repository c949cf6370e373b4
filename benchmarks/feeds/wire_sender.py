"""The exchanges as a sender that costs little: six dialects over real sockets, their frames prepared and sent compiled.

    python -m benchmarks.feeds.wire_sender PORT CONTROL_FILE MARKETS_FILE

Rules: handshakes, acknowledgements, heartbeats and pings are those of the simulated exchanges (feeds/simulator), in
Python, some 50 times a second; between them a compiled loop sends, evenly spread and each in a write of its own, the
frames that clients are subscribed to, all in turn, with the present time and another price (frame_templates.py). The
control file holds words: the frames a second that are wanted, the frames that were sent, and from TIMES on for each
frame of PROBE the monotonic time right before it was written, 0 until then; those come PROBES_PER_SECOND, whatever is
wanted. A client that falls behind blocks the sender: no frame is left out. No REST.
"""

import random
import select
import socket
import sys
from http import HTTPStatus
from pathlib import Path

import numpy as np
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from benchmarks.feeds.frame_templates import (
    ASK_DIGIT,
    BID_DIGIT,
    FIRST_MANTISSA,
    FIRST_SEQUENCE,
    LAST_DIGIT,
    PROBE,
    SCALE,
    Place,
    Prepared,
    Prices,
    patch,
    places_in,
    renumbered,
)
from benchmarks.generators import system
from benchmarks.generators.checks import Ints
from feeds.simulator.board import ExchangeBoard
from feeds.simulator.faults import FaultTable
from feeds.simulator.market import Instant, MarketRow, SimulatedMarket, SimulatedQuote, decimals_of
from feeds.simulator.venue import Out, SendPing, Session
from feeds.simulator.venues import VENUES
from trinity.clock import NS_PER_MS, NS_PER_SECOND, SystemClock
from trinity.compiled import compiled
from trinity.markets import Catalog, load_catalog
from trinity.native import libc

# Words of the control file.
WANTED, SENT, TIMES = 0, 1, 2
# Half an hour of probes.
PROBES_MAX = 100_000
# Not a divisor of anything that happens in a node: the probes meet every phase of it.
PROBES_PER_SECOND = 47.0

_PROBE_GAP_NS = int(NS_PER_SECOND / PROBES_PER_SECOND)
_SLICE_NS = 20 * NS_PER_MS
_TIMER_NS = 100 * NS_PER_MS
# What is overdue by more, because Python was at work or the processor away, is left out: it would come as a burst.
_BURST_NS = 5 * NS_PER_MS
_BLOCKED_NS = 20_000
_READ_BYTES = 65_536
# Quotes are prepared so much apart, in the exchange's own time: none of them comes too soon for its pace.
_STEP_NS = 10 * NS_PER_SECOND
# Words of the loop's state: the frame that is next and when, the probe that is next and when.
_NEXT, _DUE_NS, _PROBE, _PROBE_DUE_NS, _STATE_WORDS = range(5)


def open_control(path: Path, mode: str) -> Ints:
    """The control file: `w+` makes it, all zero; `r+` opens it."""
    words = np.memmap(path, dtype=np.int64, mode=mode, shape=(TIMES + PROBES_MAX,))  # type: ignore[call-overload]
    return np.asarray(words)


class Exchanges:
    """All exchanges of a catalog, with one quote of each market that stands."""

    def __init__(self, catalog: Catalog, now: Instant) -> None:
        rows = [
            MarketRow(
                index, market.exchange, market.asset, market.quote, VENUES[market.exchange].symbol_of(market),
                SCALE if market.asset == PROBE else decimals_of(market.asset),
            )
            for index, market in enumerate(catalog.markets)
        ]  # fmt: skip
        market = SimulatedMarket(rows, 1.0, random.Random(1), now)
        for row in rows:
            market.latest[row.position] = _standing(market.latest[row.position])
        assets = {name: frozenset(row.asset for row in rows if row.exchange == name) for name in catalog.exchanges}
        self.boards = {name: ExchangeBoard(name, market, FaultTable(assets)) for name in catalog.exchanges}
        self.sessions = {
            path: (self.boards[name], session)
            for name in catalog.exchanges
            for path, session in VENUES[name].sockets.items()
        }


def _standing(quote: SimulatedQuote) -> SimulatedQuote:
    """The quote with prices that end in the digits which are overwritten; that of PROBE with its first price."""
    scale = 10**quote.row.decimals
    ticks = round(quote.bid * scale) // 10 * 10
    bid, last, ask = ((ticks + digit) / scale for digit in (BID_DIGIT, LAST_DIGIT, ASK_DIGIT))
    if quote.row.asset == PROBE:
        bid, last, ask = ((FIRST_MANTISSA + offset) / scale for offset in (-1, 0, 1))
    return quote._replace(bid=bid, last=last, ask=ask, traded=False)


class Client:
    """One connection: its WebSocket and the exchange's session behind it. One that is gone costs itself alone."""

    def __init__(self, line: socket.socket, exchanges: Exchanges) -> None:
        self.line = line
        self.is_gone = False
        self.sequence = FIRST_SEQUENCE
        self.is_changed = False  # what it is subscribed to may have changed
        self._exchanges = exchanges
        self._protocol = ServerProtocol()
        self._board: ExchangeBoard | None = None
        self._session: Session | None = None
        self._prepared_ns = 0

    def receive(self, now: Instant) -> None:
        """Answer what came."""
        try:
            octets = self.line.recv(_READ_BYTES)
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
                self.is_changed = True
                self._send(self._session.on_text(bytes(event.data).decode(), now))
        self._flush()
        self.is_gone |= not octets or self._protocol.state is State.CLOSED

    def on_timer(self, now: Instant) -> None:
        """Heartbeats and pings; nobody is closed here."""
        if self._session is not None:
            self._send(self._session.on_timer(now))

    def frames(self, now: Instant) -> list[tuple[str, list[Place], bool]]:
        """(text, places, whether it is a probe) of each frame that this connection gets."""
        made = []
        for row in self._board.rows.values() if self._board is not None and self._session is not None else ():
            self._prepared_ns += _STEP_NS
            then = Instant(now.monotonic_ns + self._prepared_ns, now.wall_ns)
            quote = self._board.streamed(row.symbol, then)  # type: ignore[union-attr] # checked above
            assert quote is not None, "there are no faults"
            prices, is_probe = Prices(*map(row.text, (quote.bid, quote.last, quote.ask))), row.asset == PROBE
            for text in self._session.on_quote(quote._replace(time_ns=now.wall_ns), {}, then):  # type: ignore[union-attr]
                if isinstance(text, str):
                    renamed, _ = renumbered(text, self.sequence)
                    made.append((renamed, places_in(renamed, prices, now.wall_ns, is_probe), is_probe))
        return made

    def _open(self, request: Request, now: Instant) -> None:
        found = self._exchanges.sessions.get(request.path.partition("?")[0])
        if found is None:
            self._protocol.send_response(self._protocol.reject(HTTPStatus.NOT_FOUND, "a WebSocket alone\n"))
            return
        self._protocol.send_response(self._protocol.accept(request))
        self._board, kind = found
        self._session = kind(self._board, now, random.Random(1))
        self._send(self._session.on_open(now))

    def _send(self, out: list[Out]) -> None:
        if self._protocol.state is not State.OPEN:
            return
        for frame in out:
            if isinstance(frame, str):
                text, self.sequence = renumbered(frame, self.sequence)
                self._protocol.send_text(text.encode())
            elif isinstance(frame, SendPing):
                self._protocol.send_ping(b"")
        self._flush()

    def _flush(self) -> None:
        try:
            self.line.sendall(b"".join(self._protocol.data_to_send()))
        except OSError:
            self.is_gone = True


class Sender:
    """Serves all exchanges on a listening socket until the process is ended."""

    def __init__(self, exchanges: Exchanges, listener: socket.socket, control: Ints, clock: SystemClock) -> None:
        self._exchanges = exchanges
        self._listener = listener
        self._control = control
        self._clock = clock
        self._clients: dict[socket.socket, Client] = {}
        self._prepared, self._probe = Prepared.of([]), -1
        self._state: Ints = np.zeros(_STATE_WORDS, dtype=np.int64)
        self._timer_ns = 0

    def run(self) -> None:
        """Serve forever."""
        timespec = system.make_timespec()
        while True:
            now = Instant(self._clock.monotonic_ns(), self._clock.wall_ns())
            self._talk(now)
            clients = list(self._clients.values())
            fds = np.array([client.line.fileno() for client in clients], dtype=np.int64)
            sequences = np.array([client.sequence for client in clients], dtype=np.int64)
            send_until(
                self._prepared, self._probe, fds, sequences, self._control, self._state, timespec,
                now.monotonic_ns + _SLICE_NS,
            )  # fmt: skip
            for client, fd, sequence in zip(clients, fds, sequences, strict=True):
                client.sequence = int(sequence)
                client.is_gone |= bool(fd < 0)

    def _talk(self, now: Instant) -> None:
        """Answer what came, say what is due, and prepare anew what has changed."""
        if now.monotonic_ns >= self._timer_ns:
            self._timer_ns = now.monotonic_ns + _TIMER_NS
            for client in self._clients.values():
                client.on_timer(now)
        readable, _, _ = select.select([self._listener, *self._clients], [], [], 0)
        for line in readable:
            if line is self._listener:
                accepted, _ = line.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._clients[accepted] = Client(accepted, self._exchanges)
            else:
                self._clients[line].receive(now)
        gone = [line for line, client in self._clients.items() if client.is_gone]
        for line in gone:
            del self._clients[line]
            line.close()
        if gone or any(client.is_changed for client in self._clients.values()):
            self._prepare(now)

    def _prepare(self, now: Instant) -> None:
        """The frames of all connections, an exchange's next to another's: each client gets its own evenly spread."""
        of_clients = []
        for number, client in enumerate(self._clients.values()):
            client.is_changed = False
            of_clients.append([(number, *frame) for frame in client.frames(now)])
        spread = sorted(
            ((place / len(frames), frame) for frames in of_clients for place, frame in enumerate(frames)),
            key=lambda placed: placed[0],
        )
        frames = [frame for _, frame in spread]
        frames.sort(key=lambda frame: frame[3])  # the probe last
        self._prepared = Prepared.of([frame[:3] for frame in frames])
        self._probe = len(frames) - 1 if frames and frames[-1][3] else -1


@compiled
def send_until(
    prepared: Prepared,
    probe: int,
    fds: Ints,
    sequences: Ints,
    control: Ints,
    state: Ints,
    timespec: Ints,
    end_ns: int,
) -> None:
    """Send what falls due until `end_ns`; a descriptor whose other end has gone becomes -1."""
    ordinary = prepared.connections.size - (1 if probe >= 0 else 0)
    now_ns = system.monotonic_ns(timespec)
    while now_ns < end_ns:
        wanted = control[WANTED]
        is_on = wanted > 0 and ordinary > 0
        state[_DUE_NS] = max(state[_DUE_NS], now_ns - _BURST_NS) if is_on else end_ns
        if probe < 0 or state[_PROBE] >= PROBES_MAX or wanted == 0:
            state[_PROBE_DUE_NS] = end_ns
        if now_ns >= state[_PROBE_DUE_NS]:
            _send_one(prepared, probe, fds, sequences, 0, state[_PROBE], control, TIMES + state[_PROBE], timespec)
            state[_PROBE] += 1
            state[_PROBE_DUE_NS] = max(state[_PROBE_DUE_NS], now_ns - _PROBE_GAP_NS) + _PROBE_GAP_NS
        elif now_ns >= state[_DUE_NS]:
            turn, frame = state[_NEXT] // ordinary, state[_NEXT] % ordinary
            _send_one(prepared, frame, fds, sequences, turn, 0, control, -1, timespec)
            state[_NEXT] += 1
            state[_DUE_NS] += NS_PER_SECOND // wanted
        else:
            system.sleep_ns(min(end_ns, state[_DUE_NS], state[_PROBE_DUE_NS]) - now_ns, timespec)
        now_ns = system.monotonic_ns(timespec)


@compiled
def _send_one(
    prepared: Prepared,
    frame: int,
    fds: Ints,
    sequences: Ints,
    turn: int,
    number: int,
    control: Ints,
    time_at: int,
    timespec: Ints,
) -> None:
    """Send a frame, all of it; `time_at` >= 0 is the word that gets the moment before."""
    client = prepared.connections[frame]
    if fds[client] < 0:
        return
    wall_ns = libc.read_clock(libc.REALTIME, timespec)
    sequences[client] += patch(prepared, frame, wall_ns, turn, number, sequences[client])
    at, end = prepared.starts[frame], prepared.starts[frame + 1]
    if time_at >= 0:
        control[time_at] = system.monotonic_ns(timespec)
    while at < end:
        taken = libc.send(fds[client], prepared.octets, at, end - at)
        if taken >= 0:
            at += taken
        elif taken == -libc.EAGAIN:
            system.sleep_ns(_BLOCKED_NS, timespec)
        else:
            fds[client] = -1
            return
    control[SENT] += 1


def main(arguments: list[str]) -> None:
    """Serve until killed."""
    port, control_file, markets_file = arguments
    clock = SystemClock()
    none = np.zeros(0, dtype=np.int64)
    # Compiled now: whoever finds the port open is not to wait for it.
    send_until(Prepared.of([]), -1, none, none, none, none, system.make_timespec(), 0)
    with socket.create_server(("127.0.0.1", int(port))) as listener:
        exchanges = Exchanges(load_catalog(Path(markets_file)), Instant(clock.monotonic_ns(), clock.wall_ns()))
        Sender(exchanges, listener, open_control(Path(control_file), "r+"), clock).run()


if __name__ == "__main__":
    main(sys.argv[1:])
