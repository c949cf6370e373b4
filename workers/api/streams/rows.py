"""The dashboard's rows: of each asset the fields that changed, once a second, made once for all who look at the same.

    id: 19a0c3f2a11-5b1c6f04-4ac1b38e2d3
    event: rows
    data: {"time":1795983941279,"rows":[{"asset":"BTC","price":71002.5,"timestamp":1795983941200},...]}

Rules: the first message has every field of every row, each later one what differs from what its reader has; a field
that is null is not there any more. Nothing changed: the message comes all the same, so a reader that hears nothing for
some seconds has lost the node. A reader's whole state is one number as on the board (board.py), its cursor goes on in
every process of the node. 30 rows that all move are some 700 bytes a second, packed.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Stream

from trinity.clock import NS_PER_MS, Clock
from workers.api.base.callers.auth import ApiCaller
from workers.api.base.context import Parts
from workers.api.base.prices import Price
from workers.api.base.serving.compression import ENCODING, STREAM_HEAD, accepts_gzip, stream_piece
from workers.api.streams.board import PriceBoard, StreamEncoder, cursor_of, seen_of
from workers.api.streams.events import EVENT_STREAM, Streams, open_stream, parse_assets
from workers.api.streams.fanout import StreamOrder

# People do not read faster.
ROWS_SECONDS = 1.0
# Different messages of one second: what readers see differs by what is on their screens. 256 rows are 40 KB.
_MESSAGES_MAX = 256
_BPS = 10_000
_NULL = b"null"
# Fields of a row beside its asset, in this order.
FIELDS = (
    "status", "price", "confidence_bps", "spread_bps", "sources", "rejected", "timestamp", "last_price",
    "last_timestamp",
)  # fmt: skip

Row = dict[str, bytes]  # a field's JSON


class _Body(msgspec.Struct):
    """What a row takes out of a lookup's object; numbers keep their digits."""

    price: msgspec.Raw
    sources: int
    rejected: int
    timestamp: int
    disagreement_bps: msgspec.Raw = msgspec.Raw(_NULL)


_DECODER = msgspec.json.Decoder(_Body)
_REFUSED: Row = dict.fromkeys(FIELDS, _NULL)


def row_of(price: Price) -> Row:
    """An asset's row; of a refused one the reason, and the last good price where there was one."""
    row = {**_REFUSED, "status": _json(price.code)}
    if not price.is_fresh:
        if price.mantissa:
            row |= {"last_price": f"{price.usd:f}".encode(), "last_timestamp": _json(price.timestamp_ms)}
        return row
    body = _DECODER.decode(price.body)
    return row | {
        "price": bytes(body.price),
        "confidence_bps": _json(round(price.confidence / price.mantissa * _BPS, 2)),
        "spread_bps": bytes(body.disagreement_bps),
        "sources": _json(body.sources),
        "rejected": _json(body.rejected),
        "timestamp": _json(body.timestamp),
    }


_json: Callable[[object], bytes] = msgspec.json.encode


def _message(cursor: str, items: Sequence[bytes]) -> bytes:
    return b"id: %s\nevent: rows\ndata: %s\n\n" % (cursor.encode(), b"".join(items))


def _packed_message(cursor: str, items: Sequence[bytes]) -> bytes:
    return stream_piece(_message(cursor, items))


PLAIN = StreamEncoder("rows", _message)
PACKED = StreamEncoder(
    "packed rows",
    _packed_message,
    heartbeat=stream_piece(b": heartbeat\n\n"),
    begin=lambda head: STREAM_HEAD + stream_piece(head),
)


class RowBoard:
    """The newest rows of one process, and when each field changed."""

    def __init__(self, board: PriceBoard, clock: Clock, life: int) -> None:
        """`life` as of the board."""
        self.tick = clock.monotonic_ns()
        self.is_closed = False
        self._board = board
        self._clock = clock
        self._life = f"{life:x}r"
        self._time_ms = clock.wall_ns() // NS_PER_MS
        self._read = list(board.newest)
        self._rows = [row_of(price) for price in self._read]
        self._changed_at = [dict.fromkeys(FIELDS, self.tick) for _ in self._read]
        self._names = [_json(name) for name in board.prices.assets]
        self._messages: dict[tuple[str, tuple[int, ...], int], bytes] = {}
        self._turn = asyncio.Event()

    def update(self) -> None:
        """The second's rows."""
        self._board.poll()
        self.tick = max(self._clock.monotonic_ns(), self.tick + 1)
        self._time_ms = self._clock.wall_ns() // NS_PER_MS
        self._messages.clear()
        for asset, price in enumerate(self._board.newest):
            if price is self._read[asset]:
                continue
            before, now = self._rows[asset], row_of(price)
            self._changed_at[asset] |= {field: self.tick for field in FIELDS if now[field] != before[field]}
            self._read[asset], self._rows[asset] = price, now

    def poll(self) -> bool:
        """What the fanout asks between many writes; rows wait for their second."""
        return False

    def take(self, encoder: StreamEncoder, assets: tuple[int, ...], seen: int) -> tuple[bytes, int]:
        """What changed of these since `seen`, and what is seen after it; b"" within the same second."""
        if seen == self.tick:
            return b"", seen
        key = (encoder.name, assets, seen)
        message = self._messages.get(key)
        if message is None:
            rows = b",".join(row for asset in assets if (row := self._changes_of(asset, seen)))
            data = b'{"time":%d,"rows":[%s]}' % (self._time_ms, rows)
            message = encoder.frame(cursor_of(self._life, assets, self.tick), [data])
            if len(self._messages) < _MESSAGES_MAX:
                self._messages[key] = message
        return message, self.tick

    def seen_by(self, cursor: str | None, assets: tuple[int, ...]) -> int:
        """What the owner of `cursor` has of these rows."""
        return seen_of(cursor, self._life, assets, self._clock.monotonic_ns())

    async def turn(self) -> None:
        """Wait for the next second."""
        await self._turn.wait()

    async def run(self, draining: asyncio.Event) -> None:
        """A second after the other until the process drains; then everybody is woken for the last time."""
        while not draining.is_set():
            self.update()
            self._wake()
            await asyncio.sleep(ROWS_SECONDS)
        self.is_closed = True
        self._turn.set()

    def _wake(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    def _changes_of(self, asset: int, seen: int) -> bytes:
        changed_at, row = self._changed_at[asset], self._rows[asset]
        fields = [b'"%s":%s' % (field.encode(), row[field]) for field in FIELDS if changed_at[field] > seen]
        return b'{"asset":%s,%s}' % (self._names[asset], b",".join(fields)) if fields else b""


@get(
    "/stream/rows",
    media_type=EVENT_STREAM,
    responses={200: ResponseSpec(str, description="Server-sent events, without end", media_type=EVENT_STREAM)},
    tags=["streams"],
)
async def stream_rows(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    streams: NamedDependency[Streams],
    rows: NamedDependency[RowBoard],
    caller: NamedDependency[ApiCaller],
    assets: Annotated[
        str | None, QueryParameter(description="names with commas between them; all when left out")
    ] = None,
) -> Stream:
    """The dashboard's rows, once a second: of each asset the fields that changed, as `event: rows`; packed by gzip.

    What there is not is told first, each by an `event: unknown` with the refusal of a lookup.
    """
    wanted, unknown = parse_assets(streams.board, assets)
    is_packed = accepts_gzip(request.headers.get("accept-encoding", ""))
    headers = {"Vary": "Accept-Encoding"} | ({"Content-Encoding": ENCODING} if is_packed else {})
    seen = rows.seen_by(request.headers.get("last-event-id"), wanted)
    order = StreamOrder(PACKED if is_packed else PLAIN, wanted)
    head = b"".join(b"event: unknown\ndata: %s\n\n" % body for body in unknown)
    return await open_stream(request, parts, streams, caller, streams.row_fanout, order, seen, head, headers)
