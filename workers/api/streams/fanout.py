"""Streams that are written past the server (base/direct.py): what changed, to all of them, once a turn of the board.

    board.turn() -> for each reader: board.take(order, seen) -> connection.write(chunk)

Rules: a reader is a connection and what it has seen. Those who want the same and have seen the same share a chunk, made
once; nothing is queued: whose last chunk has not gone out gets no other until it has, and then what is newest. So a
slow reader costs nobody else anything. Turns begin TICK_SECONDS apart, and further where writes take long, because the
loop has other work: 4,000 clients of 25 assets are some 50 ms of writes.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from trinity.clock import NS_PER_SECOND, Clock
from workers.api.base.serving.direct import BodyPiece, CallConnection
from workers.api.streams.board import QUIET_SECONDS, TICK_SECONDS, StreamEncoder

HEARTBEAT_NS = 15 * NS_PER_SECOND
# As long as any answer's reader may take nothing (base/calls.py).
STALL_NS = 30 * NS_PER_SECOND
# Writes of some 12 us between two turns of the event loop.
_WRITES_AT_ONCE = 50
# Behind a turn's writes the loop is free for so much of the time that they took.
_REST = 0.25
_WITH_THE_NEXT_CHANGE = 1 << 63


class Board(Protocol):
    """What prices come from: the board of all changes, or the rows of each second."""

    tick: int
    is_closed: bool

    def poll(self) -> bool:
        """Look for something new, where that does not wait for its turn."""

    def take(self, encoder: StreamEncoder, assets: tuple[int, ...], seen: int) -> tuple[bytes, int]:
        """What is new since `seen`, and what is seen after it."""

    async def turn(self) -> None:
        """Wait for the next change."""


class StreamOrder(NamedTuple):
    """What a stream wants: prices of these assets in these words, with so long between two writes at least."""

    encoder: StreamEncoder
    assets: tuple[int, ...]
    interval_ns: int = 0


@dataclass(eq=False, slots=True)
class Reader:
    """One stream; `ended` is done when it cannot go on."""

    connection: CallConnection
    order: StreamOrder
    seen: int
    moved_at_ns: int  # when its connection took something
    ended: asyncio.Future[None]
    pause_ends_ns: int = 0


class _News(NamedTuple):
    """What was made last: for whom, from where and up to where."""

    order: StreamOrder | None
    seen: int
    tick: int
    piece: BodyPiece | None


class Fanout:
    """All streams of this process that are written here."""

    def __init__(self, board: Board, clock: Clock) -> None:
        self.board = board
        self._clock = clock
        self._readers: dict[Reader, None] = {}  # in the order in which they came
        self._news = _News(None, 0, 0, None)

    def add(self, connection: CallConnection, order: StreamOrder, seen: int) -> Reader:
        """A reader, whose first chunk goes out now."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        now_ns = self._clock.monotonic_ns()
        reader = Reader(connection, order, seen, now_ns, ended)
        self._readers[reader] = None
        self._serve(reader, now_ns)
        return reader

    def remove(self, reader: Reader) -> None:
        """Nothing more for this one."""
        del self._readers[reader]

    async def run(self) -> None:
        """Serve all of them until the board is closed; then they end."""
        tick = due_ns = 0
        while not self.board.is_closed:
            if self.board.tick == tick:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds_until(due_ns)):
                        await self.board.turn()
            started_ns = self._clock.monotonic_ns()
            self.board.poll()
            tick = self.board.tick
            due_ns = await self._serve_all()
            took = (self._clock.monotonic_ns() - started_ns) / NS_PER_SECOND
            await asyncio.sleep(max(took * _REST, TICK_SECONDS - took))
        for reader in self._readers:
            _end(reader)

    def _seconds_until(self, due_ns: int) -> float:
        if due_ns == _WITH_THE_NEXT_CHANGE:
            return QUIET_SECONDS
        return max(0.0, (due_ns - self._clock.monotonic_ns()) / NS_PER_SECOND)

    async def _serve_all(self) -> int:
        """What is new for each; when the first of those who have to wait is due."""
        due_ns = _WITH_THE_NEXT_CHANGE
        readers = list(self._readers)
        for first in range(0, len(readers), _WRITES_AT_ONCE):
            self.board.poll()  # who comes late in a turn gets what is newest then
            now_ns = self._clock.monotonic_ns()
            for reader in readers[first : first + _WRITES_AT_ONCE]:
                due_ns = min(due_ns, self._serve(reader, now_ns))
            await asyncio.sleep(0)
        return due_ns

    def _serve(self, reader: Reader, now_ns: int) -> int:
        """What is new for this one, if it may be sent, or a heartbeat; when to come again."""
        connection = reader.connection
        if connection.waiting_bytes:
            return self._push(reader, now_ns)
        piece, due_ns = None, reader.pause_ends_ns
        if now_ns >= due_ns:
            piece, due_ns = self._news_of(reader), _WITH_THE_NEXT_CHANGE
        if piece is not None:
            reader.pause_ends_ns = now_ns + reader.order.interval_ns
        elif now_ns - reader.moved_at_ns >= HEARTBEAT_NS:
            piece = BodyPiece.of(reader.order.encoder.heartbeat)
        if piece is not None:
            reader.moved_at_ns = now_ns
            connection.write(piece)
        if connection.is_gone:
            _end(reader)
        return due_ns

    def _news_of(self, reader: Reader) -> BodyPiece | None:
        """What this one has not seen yet: mostly what the one before it got."""
        news, tick = self._news, self.board.tick
        if news.tick != tick or news.seen != reader.seen or news.order != reader.order:
            chunk, _ = self.board.take(reader.order.encoder, reader.order.assets, reader.seen)
            news = self._news = _News(reader.order, reader.seen, tick, BodyPiece.of(chunk) if chunk else None)
        reader.seen = tick
        return news.piece

    def _push(self, reader: Reader, now_ns: int) -> int:
        """What still waits for this one."""
        before, after = reader.connection.waiting_bytes, reader.connection.flush()
        if after < before:
            reader.moved_at_ns = now_ns
        if reader.connection.is_gone or now_ns - reader.moved_at_ns >= STALL_NS:
            _end(reader)
        return now_ns


def _end(reader: Reader) -> None:
    if not reader.ended.done():
        reader.ended.set_result(None)
