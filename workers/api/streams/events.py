"""Prices as they change, as server-sent events: GET /stream/prices.

    id: 19a0c3f2a11-5b1c6f04-4ac1b38e2d3
    event: price
    data: {"asset":"BTC","price":...}        the object of a lookup, or its refusal: a stream never goes silent on it

    event: heartbeat                         when nothing else was sent for 15 s, so that a page sees a dead connection
    data: {}

Rules: newest value wins for each asset, and there is no history. A client is one number and a set of assets (board.py),
so a slow reader costs no memory; it gets fewer updates. All that changed for a client goes out in one write, past the
server where the connection is the stream's alone (fanout.py), else through it, piece by piece (`paced`); the id
stands on the last event of a write, so `Last-Event-ID` continues behind what arrived as a whole: what changed since is
sent at once, everything when the id is of another life, node or subscription. A reader that takes nothing for long is
cut off (fanout.py, calls.py). Open streams are bounded, for the process and for each caller. Whoever would not be let
in any more, by their key or their address, is sent away within seconds. Opening a stream costs a lookup for each asset.
A name that no asset has spoils nothing: one event says so, when the stream begins.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Stream

from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.limits import ASSETS_MAX
from workers.api.base.callers.auth import ApiCaller, caller_name, charge_prices, check_again
from workers.api.base.callers.concurrency import ConcurrencyBounds, ConcurrencyLimit
from workers.api.base.callers.forwarded import Address
from workers.api.base.calls import caller_address
from workers.api.base.context import Parts
from workers.api.base.prices import Price
from workers.api.base.problems import ProblemError, bad_parameter, refusal_of
from workers.api.base.serving.direct import CallConnection
from workers.api.streams.board import QUIET_SECONDS, PriceBoard, StreamEncoder
from workers.api.streams.fanout import HEARTBEAT_NS, Board, Fanout, Reader, StreamOrder

# A key that was revoked, and an address that was blocked, keep an open stream for no longer than this.
CHECK_NS = 5 * NS_PER_SECOND
INTERVAL_MS_MAX = 60_000
# A browser that lost the connection comes back after so long, each after another time: not all of them at once.
RETRY_MS_MIN, RETRY_MS_MAX = 1_000, 3_000

# A stream that is read costs some 30 KB and a write a turn: so many fill a core. One whose reader takes nothing costs
# 70 KB of the process and 29 KB of the kernel until it is cut off 30 s later; through granian it is up to 264 KiB and
# 26 KB (docs/performance.md). All together have 1.25 GiB at most, those of one key, or of one address without a key, a
# quarter of it, so that it takes several to lock others out.
UNREAD_BYTES = 320 * 1024
_UNREAD_BYTES_OF_ALL = 5 * 1024**3 // 4
STREAMS = ConcurrencyBounds(
    "stream", most=_UNREAD_BYTES_OF_ALL // UNREAD_BYTES, max_per_client=1024, retry_after_seconds=5
)

EVENT_STREAM = "text/event-stream"
# Neither caches nor proxies may hold events back.
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Streams:
    """What this feature brings to its handlers (`streams`)."""

    board: PriceBoard
    fanout: Fanout
    row_fanout: Fanout  # of the dashboard's rows
    events: ConcurrencyLimit  # of streams of events, whoever's words they are in
    sockets: ConcurrencyLimit  # of WebSockets


def _event(price: Price) -> bytes:
    return _event_of(price.body)


def _event_of(body: bytes) -> bytes:
    return b"event: price\ndata: %s\n\n" % body


def _events(cursor: str, events: Sequence[bytes]) -> bytes:
    return b"%sid: %s\n%s" % (b"".join(events[:-1]), cursor.encode(), events[-1])


EVENTS = StreamEncoder("events", _events, _event, b"event: heartbeat\ndata: {}\n\n")


@get(
    "/stream/prices",
    media_type=EVENT_STREAM,
    responses={200: ResponseSpec(str, description="Server-sent events, without end", media_type=EVENT_STREAM)},
    tags=["streams"],
)
async def stream_prices(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    streams: NamedDependency[Streams],
    caller: NamedDependency[ApiCaller],
    assets: Annotated[
        str | None, QueryParameter(description="names with commas between them; all when left out")
    ] = None,
    interval_ms: Annotated[
        int, QueryParameter(ge=0, le=INTERVAL_MS_MAX, description="least time between two writes; 0: none")
    ] = 0,
) -> Stream:
    """Prices as they change, as server-sent events (`event: price`), each the object of a lookup or its refusal."""
    wanted, unknown = parse_assets(streams.board, assets)
    seen = streams.board.seen_by(request.headers.get("last-event-id"), wanted)
    order = StreamOrder(EVENTS, wanted, interval_ms * NS_PER_MS)
    head = b"".join(map(_event_of, unknown))
    return await open_stream(request, parts, streams, caller, streams.fanout, order, seen, head)


async def open_stream(
    request: Request[Any, Any, Any],
    parts: Parts,
    streams: Streams,
    caller: ApiCaller,
    fanout: Fanout,
    order: StreamOrder,
    seen: int,
    head: bytes = b"",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Stream:
    """The endless response, begun with `head`, when there is a place for it; past the server where that can be."""
    address = caller_address(request.scope)
    name = caller_name(caller, address)
    streams.events.check(name)
    connection: CallConnection | None = request.scope["state"].get("connection")
    if connection is not None and not await connection.take():
        connection = None
    streams.events.check(name)  # others may have come meanwhile
    charge_prices(parts, request.scope, [parts.prices.assets[asset] for asset in order.assets])
    chunks = _chunks(parts, streams, caller, address, fanout, order, seen, head, connection)
    return Stream(chunks, media_type=EVENT_STREAM, headers={**STREAM_HEADERS, **headers})


async def _chunks(
    parts: Parts,
    streams: Streams,
    caller: ApiCaller,
    address: Address,
    fanout: Fanout,
    order: StreamOrder,
    seen: int,
    head: bytes,
    connection: CallConnection | None,
) -> AsyncIterator[bytes]:
    """The body; over a connection of our own the fanout writes all but its beginning."""

    def take() -> bytes:
        nonlocal seen
        chunk, seen = fanout.board.take(order.encoder, order.assets, seen)
        return chunk

    with streams.events.acquire(caller_name(caller, address)):
        retry_ms = RETRY_MS_MIN + secrets.randbelow(RETRY_MS_MAX - RETRY_MS_MIN)
        yield order.encoder.begin(b"retry: %d\n\n%s" % (retry_ms, head))
        try:
            if connection is not None:
                await _fan_out(parts, fanout, caller, address, fanout.add(connection, order, seen))
                return
            interval_ms = order.interval_ns // NS_PER_MS
            async for chunk in paced(
                parts, fanout.board, caller, address, take, lambda: interval_ms, order.encoder.heartbeat
            ):
                yield chunk
        except ProblemError:
            return  # who comes back is told why


async def _fan_out(parts: Parts, fanout: Fanout, caller: ApiCaller, address: Address, reader: Reader) -> None:
    """Until the reader is gone, or the process; ProblemError as soon as the caller would not be let in any more."""
    try:
        while not (await asyncio.wait([reader.ended], timeout=CHECK_NS / NS_PER_SECOND))[0]:
            await check_again(parts, caller, address)
    finally:
        fanout.remove(reader)


async def paced(
    parts: Parts,
    board: Board,
    caller: ApiCaller,
    address: Address,
    take: Callable[[], bytes],
    interval_ms: Callable[[], int],
    heartbeat: bytes,
) -> AsyncGenerator[bytes]:
    """What `take` has, as soon as there is something and the interval allows, else heartbeats; ends with the process.

    Raises ProblemError as soon as the caller would not be let in any more.
    """
    clock = parts.context.clock
    sent_at_ns = checked_at_ns = clock.monotonic_ns()
    pause_ends_ns = 0
    while not board.is_closed:
        now_ns = clock.monotonic_ns()
        if now_ns - checked_at_ns >= CHECK_NS:
            checked_at_ns = now_ns
            await check_again(parts, caller, address)
        if now_ns >= pause_ends_ns and (chunk := take()):
            yield chunk
            sent_at_ns = clock.monotonic_ns()
            pause_ends_ns = sent_at_ns + interval_ms() * NS_PER_MS
            continue
        if now_ns - sent_at_ns >= HEARTBEAT_NS:
            yield heartbeat
            sent_at_ns = clock.monotonic_ns()
        if now_ns < pause_ends_ns:
            await asyncio.sleep(min(QUIET_SECONDS, (pause_ends_ns - now_ns) / NS_PER_SECOND))
        else:
            await board.turn()


class FoundAssets(NamedTuple):
    """Indexes in the order of the catalog, and of each other name what a lookup says of it."""

    assets: tuple[int, ...]
    unknown: list[bytes]


def parse_assets(board: PriceBoard, text: str | None) -> FoundAssets:
    """`BTC,ETH` without repetitions; all assets when there is no text."""
    if text is None:
        return FoundAssets(tuple(range(len(board.prices.assets))), [])
    return find_assets(board, text.split(","), "assets")


def find_assets(board: PriceBoard, names: Sequence[str], field: str) -> FoundAssets:
    """The assets of these names; refused where none of them is one."""
    if not 0 < len(names) <= ASSETS_MAX:
        raise bad_parameter(field, f"between 1 and {ASSETS_MAX} assets, not {len(names)}")
    if "" in names:
        raise bad_parameter(field, "a name is empty")
    found = {name: board.prices.find(name) for name in names}
    assets = tuple(sorted({asset for asset in found.values() if asset is not None}))
    if not assets:
        raise refusal_of("unknown_asset", field=field)
    return FoundAssets(assets, [board.prices.unknown(name) for name, asset in found.items() if asset is None])
