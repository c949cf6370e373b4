"""Prices as they change, as server-sent events: GET /stream/prices.

    id: 19a0c3f2a11-5b1c6f04-4ac1b38e2d3
    event: price
    data: {"asset":"BTC","price":...}        the object of a lookup, or its refusal: a stream never goes silent on it

Rules: newest value wins for each asset, and there is no history. A client is one number and a set of assets (board.py),
so a slow reader costs no memory; it gets fewer updates. All that changed for a client goes out in one write; the id
stands on the last event of a write, so `Last-Event-ID` continues behind what arrived as a whole: what changed since is
sent at once, everything when the id is of another life, node or subscription. A reader that takes nothing for long is
cut off by calls.py. Places are bounded, for the process and for each caller.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import Stream

from trinity.clock import NS_PER_MS, NS_PER_SECOND
from trinity.limits import ASSETS_MAX
from workers.reports.auth import Caller
from workers.reports.board import Board, Dialect
from workers.reports.calls import address_of
from workers.reports.parts import Parts
from workers.reports.prices import Price
from workers.reports.problems import RefusedError, bad_parameter

HEARTBEAT_NS = 15 * NS_PER_SECOND
HEARTBEAT = b": heartbeat\n\n"
INTERVAL_MS_MAX = 60_000
# A browser that lost the connection comes back after this.
_RETRY = b"retry: 1000\n\n"

EVENT_STREAM = "text/event-stream"
# Neither caches nor proxies may hold events back.
STREAM_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Access-Control-Allow-Origin": "*"}


def _event(price: Price) -> bytes:
    return b"event: price\ndata: %s\n\n" % price.body


def _events(mark: str, events: Sequence[bytes]) -> bytes:
    return b"%sid: %s\n%s" % (b"".join(events[:-1]), mark.encode(), events[-1])


EVENTS = Dialect("events", _event, _events)


@get(
    "/stream/prices",
    media_type=EVENT_STREAM,
    responses={200: ResponseSpec(str, description="Server-sent events, without end", media_type=EVENT_STREAM)},
    tags=["streams"],
)
async def stream_prices(
    request: Request[Any, Any, Any],
    parts: NamedDependency[Parts],
    caller: NamedDependency[Caller],
    assets: Annotated[
        str | None, QueryParameter(description="names with commas between them; all when left out")
    ] = None,
    interval_ms: Annotated[
        int, QueryParameter(ge=0, le=INTERVAL_MS_MAX, description="least time between two writes; 0: none")
    ] = 0,
) -> Stream:
    """Prices as they change, as server-sent events (`event: price`), each the object of a lookup or its refusal."""
    wanted = parse_assets(parts.board, assets)
    seen = parts.board.seen_by(request.headers.get("last-event-id"), wanted)
    return open_stream(request, parts, caller, EVENTS, wanted, interval_ms, seen)


def open_stream(
    request: Request[Any, Any, Any],
    parts: Parts,
    caller: Caller,
    dialect: Dialect,
    assets: tuple[int, ...],
    interval_ms: int = 0,
    seen: int = 0,
) -> Stream:
    """The endless response, when there is a place for it."""
    name = caller_name(request.scope, caller)
    parts.places.check(name)
    chunks = _chunks(parts, name, dialect, assets, interval_ms, seen)
    return Stream(chunks, media_type=EVENT_STREAM, headers=STREAM_HEADERS)


async def _chunks(
    parts: Parts, caller: str, dialect: Dialect, assets: tuple[int, ...], interval_ms: int, seen: int
) -> AsyncIterator[bytes]:
    board, clock = parts.board, parts.seat.clock
    with parts.places.taken(caller):
        yield _RETRY
        sent_at_ns = clock.monotonic_ns()
        while not board.is_closed:
            chunk, seen = board.take(dialect, assets, seen)
            if not chunk:
                if clock.monotonic_ns() - sent_at_ns >= HEARTBEAT_NS:
                    sent_at_ns = clock.monotonic_ns()
                    yield HEARTBEAT
                await board.turn()
                continue
            yield chunk
            sent_at_ns = clock.monotonic_ns()
            if interval_ms:
                await asyncio.sleep(interval_ms * NS_PER_MS / NS_PER_SECOND)


def caller_name(scope: Any, caller: Caller) -> str:
    """By whom places are counted: the key, or the address of whoever has none."""
    return f"key {caller.key_id}" if caller.kind == "key" else f"{caller.kind} {address_of(scope)}"


def parse_assets(board: Board, text: str | None) -> tuple[int, ...]:
    """`BTC,ETH` as indexes in the order of the catalog, without repetitions; all assets when there is no text."""
    if text is None:
        return tuple(range(len(board.prices.assets)))
    return find_assets(board, text.split(","), "assets")


def find_assets(board: Board, names: Sequence[str], field: str) -> tuple[int, ...]:
    """Indexes of the names; the first one that is wrong is refused by its name."""
    if not 0 < len(names) <= ASSETS_MAX:
        raise bad_parameter(field, f"between 1 and {ASSETS_MAX} assets, not {len(names)}")
    found = set()
    for name in names:
        asset = board.prices.find(name)
        if asset is None:
            detail = f"{name[:32]!r} is not an asset of this node"
            raise RefusedError(404, "unknown_asset", detail, field) if name else bad_parameter(field, "a name is empty")
        found.add(asset)
    return tuple(sorted(found))
