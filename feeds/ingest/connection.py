"""One WebSocket with its decoder, from the handshake to the close.

Rules: it only pumps: a frame in, the decoder's events out to the rows, replies back. It never reconnects and never
judges itself: it ends with a reason, and `watch` and `replace` tell the runner whether it should live on. A frame is
handled where it arrives (frames.py) and its quotes are written before the next read, so no frames queue up; what is to
be said meanwhile waits for a task, and while more than REPLIES_WAITING_MAX replies do, nothing is read. Frequent frames
never meet Python (intake.py); the decoder has all others, in their order.
"""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from typing import NamedTuple

from websockets.exceptions import ConnectionClosed

from feeds.exchanges.contract import Alive, Event, Exchange, Quote, Reconnect, Refusal, Reply, Subscribed, UnknownSymbol
from feeds.ingest.counters import FeedCounters
from feeds.ingest.extent import WRONG, extent_of, is_message
from feeds.ingest.frames import FrameSocket
from feeds.ingest.freshness import ConnectionWatch
from feeds.ingest.intake import take_frames
from feeds.ingest.observers import FrameObserver
from feeds.ingest.pace import ReadPace
from feeds.ingest.rows import Rows
from trinity.clock import NS_PER_SECOND
from trinity.limits import (
    ACKNOWLEDGE_SECONDS,
    CLOSE_SECONDS,
    FRAME_BYTES_MAX,
    FRAMES_QUEUED_MAX,
    HANDSHAKE_SECONDS,
    REPLIES_WAITING_MAX,
)
from trinity.native.octets import Octets
from trinity.net.egress import NO_PROXIES, Failure, Proxies, clean, failure_of, open_websocket
from trinity.process import ProcessContext

# RFC 6455 5.5.2: whoever gets a ping must answer it. It finds a dead peer where the exchange itself sends nothing.
PROTOCOL_PING_SECONDS = 20.0
_ACKNOWLEDGE_NS = int(ACKNOWLEDGE_SECONDS * NS_PER_SECOND)
MESSAGE_TOO_BIG = 1009  # RFC 6455 7.4.1, sent by our side


class Ended(NamedTuple):
    """Why a connection ended; `reason` is one of vocabulary.RECONNECT_REASONS."""

    reason: str
    detail: str


class Unsubscription(NamedTuple):
    """Symbols that are no longer wanted."""

    symbols: tuple[str, ...]


class Connection:
    """A task's worth of one connection: `run` pumps until it ends."""

    def __init__(
        self,
        context: ProcessContext,
        wake_fd: int,
        exchange: Exchange,
        url: str,
        rows: Rows,
        counters: FeedCounters,
        serial: int,
        observer: FrameObserver | None = None,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._context = context
        self._clock = context.clock
        self._wake_fd = wake_fd
        self._profile = exchange.PROFILE
        self._decoder = exchange.new_decoder()
        self._url = url
        self._rows = rows
        self._counters = counters
        self._observer = observer
        self._proxies = proxies
        self._confirmed: set[str] = set()
        self._asked: dict[str, int] = {}
        # Replies, symbols to subscribe, and symbols to give up.
        self._to_say: asyncio.Queue[Reply | Sequence[str] | Unsubscription] = asyncio.Queue()
        self._socket: FrameSocket | None = None
        self._pace = ReadPace()
        self._must_subscribe = False
        self.watch = ConnectionWatch(serial, self._profile.silence_seconds)
        self.is_open = False
        self.replace: Reconnect | None = None

    async def run(self) -> Ended:
        """Connect, subscribe and pump until the connection ends; cancelling it closes the socket."""
        if self._observer is not None:
            self._observer.opened(self.watch.serial)
        try:
            socket = await self._open()
            if isinstance(socket, Failure):
                return Ended("refused", f"{socket.kind}: {socket.words}")
            async with socket:
                return await self._converse(socket)
        finally:
            self.is_open = False

    async def _open(self) -> FrameSocket | Failure:
        """The handshake; whatever a library raises for it ends this try and no more."""
        try:
            socket = await open_websocket(
                self._url,
                self._proxies,
                HANDSHAKE_SECONDS,
                first_address=self.watch.serial - 1,
                compression=None,
                max_size=FRAME_BYTES_MAX,
                max_queue=FRAMES_QUEUED_MAX,
                close_timeout=CLOSE_SECONDS,
                ping_interval=PROTOCOL_PING_SECONDS,
                ping_timeout=PROTOCOL_PING_SECONDS,
                create_connection=FrameSocket,
            )
            assert isinstance(socket, FrameSocket)
            return socket
        except Exception as error:  # noqa: BLE001 - five libraries, and each has raised what it does not document
            failure = failure_of(error)
            self._counters.failure("ws", failure.kind)
            return failure

    async def _converse(self, socket: FrameSocket) -> Ended:
        self.is_open = True
        self.watch.on_open(self._clock.monotonic_ns())
        self._context.log.info("connected", extra={"fields": {"url": self._url, "connection": self.watch.serial}})
        beside = [asyncio.create_task(self._ping(socket)), asyncio.create_task(self._say(socket))]
        try:
            await asyncio.sleep(self._profile.settle_seconds)
            await self._subscribe(socket, self._rows.known_symbols())
            # In frames of their own: where one of them is refused, no row of the catalog is refused with it.
            await self._subscribe(socket, self._rows.known_symbols(guests=True))
            self._socket, socket.deliver = socket, self._take_read
            while True:
                try:
                    frame = await socket.next_message()
                except ConnectionClosed:
                    raise
                except Exception as error:  # noqa: BLE001 - the library's fault ends the connection, not the process
                    failure = failure_of(error)
                    self._counters.failure("ws", failure.kind)
                    return Ended("error", failure.words)
                self._take_message(frame)
        except ConnectionClosed as closed:
            if socket.fault is not None:
                raise socket.fault from None
            if closed.sent is not None and closed.sent.code == MESSAGE_TOO_BIG:
                self._counters.refusal("too_large", f"a frame of more than {FRAME_BYTES_MAX} bytes")
                return Ended("error", clean(str(closed)))
            return Ended("closed", clean(str(closed)))
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

    def ask_again(self, symbols: Sequence[str]) -> None:
        """Subscribe symbols that were left out for a while, or are new."""
        self._to_say.put_nowait(symbols)

    def give_up(self, symbols: Sequence[str]) -> None:
        """End the subscriptions of symbols that nobody wants any more."""
        self._to_say.put_nowait(Unsubscription(tuple(symbols)))

    def take_unacknowledged(self, now_ns: int) -> list[str]:
        """Symbols that the exchange should have confirmed by now, each once; none while it has confirmed nothing."""
        if not self._confirmed:
            return []
        late = [symbol for symbol, asked_ns in self._asked.items() if now_ns - asked_ns > _ACKNOWLEDGE_NS]
        for symbol in late:
            del self._asked[symbol]
        return late

    async def _subscribe(self, socket: FrameSocket, symbols: Sequence[str]) -> None:
        """Ask for those of the symbols that this connection does not deliver yet."""
        wanted = [symbol for symbol in symbols if symbol not in self._confirmed]
        if wanted:
            now_ns = self._clock.monotonic_ns()
            self._asked.update((symbol, now_ns) for symbol in wanted)
            for frame in self._decoder.subscribe(wanted, self._clock.wall_ns()):
                await socket.send(frame)

    async def _say(self, socket: FrameSocket) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self._say_one(socket, await self._to_say.get())
                if self._to_say.empty():
                    socket.go_on_reading()

    async def _say_one(self, socket: FrameSocket, saying: "Reply | Sequence[str] | Unsubscription") -> None:
        if isinstance(saying, Reply):
            await socket.send(saying.frame)
        elif isinstance(saying, Unsubscription):
            self._confirmed.difference_update(saying.symbols)
            for symbol in saying.symbols:
                self._asked.pop(symbol, None)
            for frame in self._decoder.unsubscribe(saying.symbols, self._clock.wall_ns()):
                await socket.send(frame)
        else:
            await self._subscribe(socket, saying)

    async def _ping(self, socket: FrameSocket) -> None:
        seconds = self._profile.ping_seconds
        if seconds is None:
            return
        with contextlib.suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(seconds)
                for frame in self._decoder.ping(self._clock.wall_ns()):
                    await socket.send(frame)

    def _take_read(self, octets: Octets, at: int, size: int) -> int:
        """Take what one read brought, up to the first thing that is no whole message: received at one moment, written
        frame by frame, told to the consensus once."""
        at_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        frames, quotes, is_written = 0, 0, False
        while True:
            behind, taken, written = take_frames(
                *self._rows.intake, self.watch.line, self._decoder.memory, octets, at, size, at_ns, wall_ns
            )
            if self._observer is not None and self._observer.is_on:
                self._show(octets, at, behind, at_ns, wall_ns)
            frames, quotes, at = frames + taken, quotes + written, behind
            if at == size:
                break
            start, end = extent_of(octets, at, size)
            if start == WRONG or end > size or not is_message(int(octets[at])):
                break
            is_written |= self._take_frame(octets[start:end].tobytes(), at_ns, wall_ns)
            frames, at = frames + 1, end
        if frames:
            self._end_read(at_ns, frames, quotes, is_written)
        return at

    def _take_message(self, frame: bytes) -> None:
        """What the library has put together."""
        at_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        is_written = self._take_frame(frame, at_ns, wall_ns)
        self._end_read(at_ns, 1, 0, is_written)

    def _show(self, octets: Octets, at: int, behind: int, at_ns: int, wall_ns: int) -> None:
        """Tell the observer of frames that were taken compiled."""
        assert self._observer is not None, "it is on"
        while at < behind:
            start, at = extent_of(octets, at, behind)
            self._observer.frame(self.watch.serial, at_ns, wall_ns, octets[start:at].tobytes())

    def _take_frame(self, frame: bytes, at_ns: int, wall_ns: int) -> bool:
        """Handle a frame that the decoder must read; whether a quote of it was written."""
        if self._observer is not None and self._observer.is_on:
            self._observer.frame(self.watch.serial, at_ns, wall_ns, frame)
        is_written = False
        for event in self._decoder.on_frame(frame):
            if type(event) is Quote:
                is_written |= self._rows.take_ws(event, at_ns, wall_ns, self.watch)
            elif type(event) is Reply:
                self._to_say.put_nowait(event)
                if self._to_say.qsize() > REPLIES_WAITING_MAX and self._socket is not None:
                    self._socket.stop_reading()
            else:
                self._must_subscribe |= self._on_news(event)
        return is_written

    def _end_read(self, at_ns: int, frames: int, quotes: int, is_written: bool) -> None:
        """Count, wake the consensus, and let a busy stream gather before the next read; `quotes` were written compiled,
        `is_written` says whether others were."""
        self.watch.frame_at_ns = at_ns
        self._counters.frames(frames, quotes)
        if quotes or is_written:
            os.eventfd_write(self._wake_fd, 1)
        if self._must_subscribe:
            self._must_subscribe = False
            self._to_say.put_nowait(self._rows.known_symbols())
            self._to_say.put_nowait(self._rows.known_symbols(guests=True))
        wait_ns = self._pace.wait_ns(at_ns, frames, self._clock.monotonic_ns())
        if wait_ns:
            self._clock.sleep_ns(wait_ns)

    def _on_news(self, event: Event) -> bool:
        """Handle an event that is neither price nor reply; True when the remaining symbols must be asked for again."""
        match event:
            case Refusal(reason, detail):
                self._counters.refusal(reason, detail)
            case Subscribed(symbols):
                self._confirmed.update(symbols)
                for symbol in symbols:
                    self._asked.pop(symbol, None)
            case UnknownSymbol(symbol, rejected_whole_frame):
                self._asked.pop(symbol, None)
                self._confirmed.discard(symbol)
                if not self._rows.mark_unknown(symbol):
                    self._counters.refusal("unknown_symbol", symbol)
                    return False
                if not self._rows.known_symbols():
                    self._rows.forget_unknown()
                    self.replace = Reconnect("error", "the exchange says that it knows none of our symbols")
                    return False
                return rejected_whole_frame
            case Reconnect():
                self.replace = event
            case Alive():
                pass
        return False
