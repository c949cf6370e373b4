"""Prices as they change, over a WebSocket: /ws.

    client                                              server
    {"type":"subscribe","assets":["BTC","ETH"]}         {"type":"subscribed","assets":["BTC","ETH"]}
                                                        {"type":"prices","id":"...","prices":[{"asset":"BTC",...},...]}
    {"type":"unsubscribe","assets":["ETH"]}             {"type":"subscribed","assets":["BTC"]}
    {"type":"subscribe","assets":["BTC","NO"]}          {"type":"subscribed","assets":["BTC"],"unknown":[{"error":...}]}
    {"type":"ping","id":7}                              {"type":"pong","id":7}
    anything else                                       {"type":"error","error":{"code":...,"message":...,"field":...}}
                                                        {"type":"heartbeat"}   when nothing else was sent for 15 s

Rules: as for server-sent events (events.py), of which this is another skin; `subscribe` adds, its `interval_ms` holds
for the connection. A message is JSON in a text frame or a binary one. A wrong message is answered by what is wrong with
it and changes nothing; one of more than MESSAGE_BYTES_MAX closes the connection (1009). A `subscribe` that adds assets
is a request that names them, as on 8080: one of the rate, and of the month a lookup for each; opening alone costs no
month. Messages are taken one at a time, MESSAGES_PER_SECOND at most: who sends more waits. Whoever is not let in gets a
problem instead of a WebSocket; whoever would not be let in any more is closed with 4000 and the status that they would
get.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg
from litestar import WebSocket, websocket
from litestar.di import NamedDependency

from workers.api.base.allowed import explain_decoding
from workers.api.base.callers.auth import KEY_PARAMETERS, ApiCaller, admit, caller_name, provide_caller
from workers.api.base.callers.concurrency import ConcurrencyBounds
from workers.api.base.callers.forwarded import Address
from workers.api.base.calls import caller_address
from workers.api.base.context import Parts
from workers.api.base.parameters import refuse_unknown
from workers.api.base.problems import ProblemError, problem_of, refuse
from workers.api.streams.board import NOTHING_SEEN, PriceBoard, StreamEncoder
from workers.api.streams.events import INTERVAL_MS_MAX, Streams, find_assets, paced

# All 256 assets by names of 16 letters are 5 KB.
MESSAGE_BYTES_MAX = 16 * 1024
MESSAGES_PER_SECOND = 50
# Granian takes messages of up to 64 MB into memory before anybody can look at them: few connections for one caller.
SOCKETS = ConcurrencyBounds("socket", most=1024, max_per_client=64, retry_after_seconds=5)
# Close codes: the service goes away, a message is too big, and a refusal (4000 + the HTTP status that it would have).
_GOING_AWAY = 1001
_TOO_BIG = 1009
_REFUSED = 4000
# What a close frame has room for, two bytes of code left out.
_REASON_BYTES_MAX = 123


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
_ALLOWED = {"type": ("subscribe", "unsubscribe", "ping")}


def _message(cursor: str, bodies: Sequence[bytes]) -> bytes:
    return b'{"type":"prices","id":"%s","prices":[%s]}' % (cursor.encode(), b",".join(bodies))


MESSAGES = StreamEncoder("messages", _message, heartbeat=b'{"type":"heartbeat"}')


class SocketSubscription:
    """What one connection wants, and has seen."""

    def __init__(self, board: PriceBoard, charge: Callable[[int], None]) -> None:
        """`charge` takes what so many more assets cost, or raises ProblemError."""
        self.assets: tuple[int, ...] = ()
        self.interval_ms = 0
        self._board = board
        self._charge = charge
        self._seen = NOTHING_SEEN
        self._added: frozenset[int] = frozenset()

    def answer(self, octets: bytes | str) -> dict[str, Any]:
        """Take a client's message in; the reply to it."""
        try:
            return self._take_in(octets)
        except ProblemError as error:
            return refusal(error.code, error.detail, error.field)
        except RecursionError:
            return refusal("bad_message", "the message is nested too deeply", None)
        except (msgspec.DecodeError, UnicodeError) as error:
            return refusal("bad_message", *explain_decoding(error, _ALLOWED))

    def next_chunk(self) -> bytes:
        """What is new for this connection, empty when nothing is."""
        if not self.assets:
            self._seen = self._board.tick
            return b""
        added, self._added = self._added, frozenset()
        chunk, self._seen = self._board.take(MESSAGES, self.assets, self._seen, added)
        return chunk

    def _take_in(self, octets: bytes | str) -> dict[str, Any]:
        message = _MESSAGES.decode(octets)
        if isinstance(message, Ping):
            return {"type": "pong", "id": message.id}
        named, unknown = find_assets(self._board, message.assets, "assets")
        wanted = set(self.assets)
        if isinstance(message, Unsubscribe):
            wanted.difference_update(named)
        else:
            if message.interval_ms is not None and not 0 <= message.interval_ms <= INTERVAL_MS_MAX:
                detail = f"{message.interval_ms} is not between 0 and {INTERVAL_MS_MAX}"
                raise ProblemError(400, "bad_parameter", detail, "interval_ms")
            if added := frozenset(named) - frozenset(self.assets):
                self._charge(len(added))
            if message.interval_ms is not None:
                self.interval_ms = message.interval_ms
            wanted.update(named)
            self._added |= added
        self.assets = tuple(sorted(wanted))
        self._added &= frozenset(self.assets)
        told = {"type": "subscribed", "assets": [self._board.prices.assets[asset] for asset in self.assets]}
        return told | {"unknown": [msgspec.Raw(body) for body in unknown]} if unknown else told


def refusal(code: str, message: str, field: str | None) -> dict[str, Any]:
    """An error as the client gets it."""
    error = {"code": code, "message": message}
    return {"type": "error", "error": error if field is None else error | {"field": field}}


@websocket("/ws", opt={"any_parameters": True})  # refused below, as a problem
async def price_socket(
    socket: WebSocket[Any, Any, Any], parts: NamedDependency[Parts], streams: NamedDependency[Streams]
) -> None:
    """Subscribe to prices and get them as they change."""
    address = caller_address(socket.scope)
    try:
        refuse_unknown(socket.query_params.multi_items(), dict.fromkeys(KEY_PARAMETERS, False))
        caller: ApiCaller = await provide_caller(socket.scope, parts)
        name = caller_name(caller, address)
        streams.sockets.check(name)
    except (ProblemError, psycopg.Error) as error:
        problem = problem_of(error)
        if problem.status == 500:
            socket.scope["state"]["failure"] = error
        await refuse(socket.scope, socket.send, problem)
        return
    await socket.accept()

    def charge(lookups: int) -> None:
        if not caller.is_admin:
            parts.admission.charge(admit(parts, socket.scope, caller), lookups)

    subscription = SocketSubscription(streams.board, charge)
    with streams.sockets.acquire(name):
        reading = asyncio.create_task(_read(socket, subscription))
        writing = asyncio.create_task(_write(socket, subscription, parts, streams, caller, address))
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, writing):
                task.cancel()
            ends = await asyncio.gather(reading, writing, return_exceptions=True)
    close = next((end for end in ends if isinstance(end, Close)), None)
    if close is not None:
        await socket.close(*close)


class Close(NamedTuple):
    """Why the service ends a connection."""

    code: int
    reason: str


async def _read(socket: WebSocket[Any, Any, Any], subscription: SocketSubscription) -> Close | None:
    while True:
        event = await socket.receive()
        if event["type"] != "websocket.receive":
            return None
        octets = (event.get("text") or "").encode(errors="replace") or event.get("bytes") or b""
        if len(octets) > MESSAGE_BYTES_MAX:
            return Close(_TOO_BIG, f"a message has at most {MESSAGE_BYTES_MAX} bytes")
        await socket.send_text(msgspec.json.encode(subscription.answer(octets)).decode())
        # What was asked for just now does not wait for the next change.
        if chunk := subscription.next_chunk():
            await socket.send_text(chunk.decode())
        await asyncio.sleep(1 / MESSAGES_PER_SECOND)


async def _write(
    socket: WebSocket[Any, Any, Any],
    subscription: SocketSubscription,
    parts: Parts,
    streams: Streams,
    caller: ApiCaller,
    address: Address,
) -> Close:
    chunks = paced(
        parts,
        streams.board,
        caller,
        address,
        subscription.next_chunk,
        lambda: subscription.interval_ms,
        MESSAGES.heartbeat,
    )
    try:
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                await socket.send_text(chunk.decode())
    except ProblemError as error:
        reason = f"{error.code}: {error.detail}".encode()[:_REASON_BYTES_MAX]
        return Close(_REFUSED + error.status, reason.decode(errors="ignore"))
    return Close(_GOING_AWAY, "the service is restarted")
