"""Prices as they change, over a WebSocket: /ws.

    client                                              server
    {"type":"subscribe","assets":["BTC","ETH"]}         {"type":"subscribed","assets":["BTC","ETH"]}
                                                        {"type":"prices","id":"...","prices":[{"asset":"BTC",...},...]}
    {"type":"unsubscribe","assets":["ETH"]}             {"type":"subscribed","assets":["BTC"]}
    {"type":"ping","id":7}                              {"type":"pong","id":7}
    anything else                                       {"type":"error","error":{"code":...,"message":...,"field":...}}
                                                        {"type":"heartbeat"}   when nothing else was sent for 15 s

Rules: as for server-sent events (streams.py), of which this is another skin; `subscribe` adds, its `interval_ms` holds
for the connection. A message is an object of at most MESSAGE_BYTES_MAX; a wrong one is answered by what is wrong with
it and changes nothing. Messages are taken one at a time, MESSAGES_PER_SECOND at most: who sends more waits.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import WebSocket, websocket
from litestar.di import NamedDependency
from litestar.exceptions import WebSocketDisconnect, WebSocketException

from trinity.clock import NS_PER_MS, NS_PER_SECOND
from workers.reports.auth import Caller, provide_caller
from workers.reports.board import NOTHING_SEEN, Board, Dialect
from workers.reports.parts import Parts
from workers.reports.prices import Price
from workers.reports.problems import RefusedError
from workers.reports.streams import HEARTBEAT_NS, INTERVAL_MS_MAX, caller_name, find_assets

# All 256 assets by names of 16 letters are 5 KB.
MESSAGE_BYTES_MAX = 16 * 1024
MESSAGES_PER_SECOND = 50
# Close codes: the service goes away, and a refusal (4000 + the HTTP status that it would have).
_GOING_AWAY = 1001
_REFUSED = 4000
_HEARTBEAT = '{"type":"heartbeat"}'


class Subscribe(msgspec.Struct, tag="subscribe", forbid_unknown_fields=True):
    """Send these as well."""

    assets: list[str]
    interval_ms: int | None = None


class Unsubscribe(msgspec.Struct, tag="unsubscribe", forbid_unknown_fields=True):
    """Do not send these any more."""

    assets: list[str]


class Ping(msgspec.Struct, tag="ping", forbid_unknown_fields=True):
    """Are you there?"""

    id: int | str | None = None


_MESSAGES = msgspec.json.Decoder(Subscribe | Unsubscribe | Ping)


def _body(price: Price) -> bytes:
    return price.body


def _message(mark: str, bodies: Sequence[bytes]) -> bytes:
    return b'{"type":"prices","id":"%s","prices":[%s]}' % (mark.encode(), b",".join(bodies))


MESSAGES = Dialect("messages", _body, _message)


class Subscription:
    """What one connection wants, and has seen."""

    def __init__(self, board: Board) -> None:
        self.assets: tuple[int, ...] = ()
        self.interval_ms = 0
        self._board = board
        self._seen = NOTHING_SEEN
        self._added: frozenset[int] = frozenset()

    def answer(self, text: str) -> dict[str, Any]:
        """Take a client's message in; the reply to it."""
        try:
            return self._take_in(text)
        except RefusedError as error:
            return refusal(error.code, error.detail, error.field)
        except (msgspec.DecodeError, UnicodeError) as error:
            field = re.search(r"at `\$\.?([^`]*)`", str(error))
            unknown = re.search(r"unknown field `([^`]*)`", str(error))
            named = unknown or field
            return refusal("bad_message", str(error), named.group(1) if named else None)

    def next_chunk(self) -> str:
        """What is new for this connection, empty when nothing is."""
        if not self.assets:
            self._seen = self._board.tick
            return ""
        added, self._added = self._added, frozenset()
        chunk, self._seen = self._board.take(MESSAGES, self.assets, self._seen, added)
        return chunk.decode()

    def _take_in(self, text: str) -> dict[str, Any]:
        if len(text) > MESSAGE_BYTES_MAX:
            raise RefusedError(413, "message_too_long", f"a message has at most {MESSAGE_BYTES_MAX} bytes")
        message = _MESSAGES.decode(text)
        if isinstance(message, Ping):
            return {"type": "pong", "id": message.id}
        named = find_assets(self._board, message.assets, "assets")
        wanted = set(self.assets)
        if isinstance(message, Unsubscribe):
            wanted.difference_update(named)
        else:
            if message.interval_ms is not None:
                if not 0 <= message.interval_ms <= INTERVAL_MS_MAX:
                    detail = f"{message.interval_ms} is not between 0 and {INTERVAL_MS_MAX}"
                    raise RefusedError(400, "bad_parameter", detail, "interval_ms")
                self.interval_ms = message.interval_ms
            wanted.update(named)
            self._added |= frozenset(named) - frozenset(self.assets)
        self.assets = tuple(sorted(wanted))
        self._added &= frozenset(self.assets)
        return {"type": "subscribed", "assets": [self._board.prices.assets[asset] for asset in self.assets]}


def refusal(code: str, message: str, field: str | None) -> dict[str, Any]:
    """An error as the client gets it."""
    error = {"code": code, "message": message}
    return {"type": "error", "error": error if field is None else error | {"field": field}}


@websocket("/ws")
async def price_socket(socket: WebSocket[Any, Any, Any], parts: NamedDependency[Parts]) -> None:
    """Subscribe to prices and get them as they change."""
    try:
        caller: Caller = await provide_caller(socket.scope, parts)
        name = caller_name(socket.scope, caller)
        parts.places.check(name)
    except RefusedError as error:
        raise WebSocketException(detail=f"{error.code}: {error.detail}"[:120], code=_REFUSED + error.status) from None
    await socket.accept()
    subscription = Subscription(parts.board)
    with parts.places.taken(name):
        reading = asyncio.create_task(_read(socket, subscription))
        writing = asyncio.create_task(_write(socket, subscription, parts))
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)
    if parts.board.is_closed:
        await socket.close(_GOING_AWAY)


async def _read(socket: WebSocket[Any, Any, Any], subscription: Subscription) -> None:
    while True:
        try:
            text = await socket.receive_text()
        except WebSocketDisconnect:
            return
        await socket.send_text(msgspec.json.encode(subscription.answer(text)).decode())
        # What was asked for just now does not wait for the next change.
        if chunk := subscription.next_chunk():
            await socket.send_text(chunk)
        await asyncio.sleep(1 / MESSAGES_PER_SECOND)


async def _write(socket: WebSocket[Any, Any, Any], subscription: Subscription, parts: Parts) -> None:
    board, clock = parts.board, parts.seat.clock
    sent_at_ns = clock.monotonic_ns()
    while not board.is_closed:
        chunk = subscription.next_chunk()
        if not chunk:
            if clock.monotonic_ns() - sent_at_ns >= HEARTBEAT_NS:
                await socket.send_text(_HEARTBEAT)
                sent_at_ns = clock.monotonic_ns()
            await board.turn()
            continue
        await socket.send_text(chunk)
        sent_at_ns = clock.monotonic_ns()
        if subscription.interval_ms:
            await asyncio.sleep(subscription.interval_ms * NS_PER_MS / NS_PER_SECOND)
