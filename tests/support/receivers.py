"""Receivers of webhooks as real TLS servers on loopback, good and of every bad kind.

Rules: a receiver is a coroutine that is given a connection and speaks by itself; it lives in the test's own loop. What
it was sent, and how many connections it took, is counted. Certificates come from an authority made for the run.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from random import Random

import h2.config
import h2.connection
import h2.events
import h2.settings
import trustme

from trinity.clock import SystemClock
from trinity.push.addresses import AllowList
from trinity.push.targets import Target, parse_target
from workers.push.https.pool import ConnectionPool, PoolBounds
from workers.push.https.tls import make_tls

LOOPBACK = AllowList.parse(["127.0.0.0/8", "::1"])
HEADERS = ((b"webhook-id", b"msg_7_8"), (b"webhook-timestamp", b"1767225600"))
BODY = b'{"type":"price.update"}'
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ROOMY = PoolBounds()
PAST = datetime(2020, 1, 1, tzinfo=UTC)


class Receiver:
    """A running receiver: its port, and what came."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.resumed = 0
        self.requests: list[tuple[bytes, bytes]] = []
        self.names: list[str | None] = []  # that SNI asked for

    def target(self, path: str = "/hook", host: str = "localhost") -> Target:
        return parse_target(f"https://{host}:{self.port}{path}")


Speak = Callable[[Receiver, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Names:
    """A resolver with fixed answers; each list is one answer, the last one stays."""

    def __init__(self, **answers: Sequence[Sequence[str]]) -> None:
        self._answers = {name.replace("_", "."): list(lists) for name, lists in answers.items()}
        self.asked = 0

    async def addresses_of(self, host: str) -> Sequence[str]:
        self.asked += 1
        lists = self._answers.get(host, [["127.0.0.1"]])
        return lists.pop(0) if len(lists) > 1 else lists[0]


@contextlib.asynccontextmanager
async def receiver(
    speak: Speak,
    authority: trustme.CA,
    name: str = "localhost",
    not_after: datetime | None = None,
    protocols: Sequence[str] = (),
) -> AsyncIterator[Receiver]:
    """A receiver behind TLS whose certificate is for `name`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    not_before = None if not_after is None else PAST.replace(year=2019)
    authority.issue_cert(name, not_before=not_before, not_after=not_after).configure_cert(context)
    if protocols:
        context.set_alpn_protocols(list(protocols))
    here = Receiver()
    context.sni_callback = lambda _socket, asked, _context: here.names.append(asked)
    async with listening(speak, here, context):
        yield here


@contextlib.asynccontextmanager
async def listening(speak: Speak, here: Receiver, tls: ssl.SSLContext | None) -> AsyncIterator[Receiver]:
    """The server itself; without TLS as well."""
    tasks: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        here.connections += 1
        socket = writer.get_extra_info("ssl_object")
        here.resumed += bool(socket is not None and socket.session_reused)
        try:
            with contextlib.suppress(OSError, EOFError, ssl.SSLError):
                await speak(here, reader, writer)
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(take, "127.0.0.1", 0, ssl=tls)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def pool_for(
    authority: trustme.CA,
    bounds: PoolBounds = ROOMY,
    names: Names | None = None,
    allow: AllowList = LOOPBACK,
) -> AsyncIterator[ConnectionPool]:
    """A pool that trusts the authority."""
    tls = make_tls()
    authority.configure_trust(tls)
    pool = ConnectionPool(names or Names(), allow, tls, bounds, SystemClock(), Random(1))
    try:
        yield pool
    finally:
        await pool.close()


async def read_request(here: Receiver, reader: asyncio.StreamReader) -> None:
    """One POST, noted."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    here.requests.append((head, await reader.readexactly(length)))


def answering(*answers: bytes) -> Speak:
    """Each request gets the next answer, the last one again and again."""

    async def speak(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(here, reader)
            writer.write(answers[min(len(here.requests), len(answers)) - 1])
            await writer.drain()

    return speak


good = answering(OK)


async def hanging(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads and never answers."""
    await reader.read(1 << 20)
    await asyncio.Event().wait()


async def dripping(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers at once, and then a byte every 20 ms."""
    await read_request(here, reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


async def endless(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers 200 and never stops."""
    await read_request(here, reader)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


async def endless_head(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Headers without end."""
    await read_request(here, reader)
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"x-more: " + b"x" * 1_000 + b"\r\n")
        await writer.drain()


async def resetting(here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reads the request and drops the connection."""
    await read_request(here, reader)
    writer.transport.abort()


class Http2Receiver:
    """HTTP/2 by h2: `on_request(connection, stream_id)` answers; without it every request gets 200."""

    def __init__(
        self, on_request: Callable[[h2.connection.H2Connection, int], None] | None = None, window: int = 65_535
    ) -> None:
        self._on_request = on_request or self.answer
        self._window = window

    @staticmethod
    def answer(connection: h2.connection.H2Connection, stream_id: int) -> None:
        connection.send_headers(stream_id, [(":status", "200"), ("content-type", "text/plain")])
        connection.send_data(stream_id, b"ok", end_stream=True)

    async def __call__(self, here: Receiver, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        connection.initiate_connection()
        connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: self._window})
        heads: dict[int, bytes] = {}
        bodies: dict[int, bytes] = {}
        writer.write(connection.data_to_send())
        while data := await reader.read(65_536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    heads[event.stream_id] = b"\n".join(name + b": " + value for name, value in event.headers)
                    bodies[event.stream_id] = b""
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    here.requests.append((heads.pop(event.stream_id), bodies.pop(event.stream_id)))
                    self._on_request(connection, event.stream_id)
            writer.write(connection.data_to_send())
            await writer.drain()
