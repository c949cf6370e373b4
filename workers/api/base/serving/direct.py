"""An answer without end, written to its connection by this process itself, past the server.

Granian takes a piece of a body through a future, a task of its own threads and the interpreter's lock, twice: 30 us of
processor time for each client and piece, beside some 10 us in all for one write(2).

    GuardedApp (door.py)   gives each call a CallConnection: scope["state"]["connection"]
    await take()           before anything is answered: the connection, duplicated; False when it has to be granian's
    send(message)          ASGI's messages of the answer as HTTP/1.1, all of them, from the first on
    write(piece)           another piece of the body; what the kernel does not take waits here

Rules: nothing of such an answer goes through granian, neither head nor end; it reads on, and so says when the client
leaves. At the end the socket is shut down: the server sees the client go, and its descriptor is its own all the time.
Who writes looks first whether something waits (`waiting_bytes`), and then makes no other piece: what a reader that
takes nothing costs is one piece here. HTTP/2 has other answers on the same connection, so it stays with granian, and so
does whatever there is no descriptor for, or cannot be told from another connection of the same peer.
"""

import asyncio
import contextlib
import http
import os
import socket
from email.utils import formatdate
from typing import Any, NamedTuple

from litestar.types import Send

from trinity.clock import NS_PER_SECOND, Clock
from trinity.net.descriptors import Peer, duplicates

# HTTP/1.0 has no frames: a body ends with the connection.
_FRAMED = "1.1"
_VERSIONS = ("1.0", _FRAMED)
_NO_FD = -1
_LAST_FRAME = b"0\r\n\r\n"
# Looks for connections take up to some 25 ms, where thousands are open; so much longer than the last one took nobody
# looks again, and whoever came meanwhile is found by the next look.
_REST = 4


class Duplicates:
    """Duplicates of this process's connections to its own listeners: one look for all calls that wait for one."""

    def __init__(self, most: int, clock: Clock) -> None:
        """`most` are held at once: descriptors that nobody else counts on."""
        self.ports: tuple[int, ...] = ()  # of the listeners, once there are any
        self._free = most
        self._clock = clock
        self._waiting: dict[Peer, asyncio.Future[int | None]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def take(self, peer: Peer) -> int | None:
        """A duplicate of the connection of this peer, which is the caller's from now on."""
        if self._free <= 0 or peer in self._waiting:
            return None  # two that wait have one peer: it cannot be told which is whose
        self._free -= 1
        self._waiting[peer] = waiting = asyncio.get_running_loop().create_future()
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        fd: int | None = None
        try:
            fd = await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():
                _close(waiting.result())
            raise
        finally:
            del self._waiting[peer]
            self._free += fd is None
        return fd

    def give_back(self) -> None:
        """Whoever took one has closed it."""
        self._free += 1

    async def _look(self) -> None:
        while self._waiting:
            started_ns = self._clock.monotonic_ns()
            try:
                found = duplicates(self._waiting, self.ports)
            except OSError:
                found = {}
            for peer, waiting in self._waiting.items():
                if waiting.done():
                    _close(found.get(peer))
                else:
                    waiting.set_result(found.get(peer))
            await asyncio.sleep(_REST * (self._clock.monotonic_ns() - started_ns) / NS_PER_SECOND)


def _close(fd: int | None) -> None:
    if fd is not None:
        os.close(fd)


def may_be_direct(version: str, method: str) -> bool:
    """Whether an answer may be written here: what HEAD gets has no body."""
    return version in _VERSIONS and method == "GET"


class BodyPiece(NamedTuple):
    """A piece of a body, plain and framed by its length (RFC 9112, 7.1): made once for all who get it."""

    body: bytes
    framed: bytes

    @classmethod
    def of(cls, body: bytes) -> "BodyPiece":
        return cls(body, b"%x\r\n%s\r\n" % (len(body), body))


class CallConnection:
    """The connection of one call."""

    def __init__(self, peer: Peer, version: str, send: Send, pool: Duplicates, clock: Clock) -> None:
        """`send` is the server's, for a connection that is not taken."""
        self.written_bytes = 0  # of the body, by `write`
        self.is_gone = False  # nobody is at the other end any more
        self._peer = peer
        self._version = version
        self._is_framed = version == _FRAMED
        self._send = send
        self._duplicates = pool
        self._clock = clock
        self._is_taken = False
        self._fd = _NO_FD
        self._rest: bytes | memoryview = b""

    async def take(self) -> bool:
        """Whether the answer is written here from now on; before its first message."""
        fd = await self._duplicates.take(self._peer)
        if fd is not None:
            self._fd, self._is_taken = fd, True
        return self._is_taken

    async def send(self, message: Any) -> None:
        """A message of ASGI, to where the answer is written."""
        if not self._is_taken:
            await self._send(message)
        elif message["type"] == "http.response.start":
            self._put(self._head_of(message["status"], message.get("headers", ())))
        else:
            if body := message.get("body", b""):
                self._put(BodyPiece.of(body).framed if self._is_framed else body)
            if not message.get("more_body", False):
                self._put(_LAST_FRAME if self._is_framed else b"")
                self.close()

    @property
    def waiting_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return len(self._rest)

    def write(self, piece: BodyPiece) -> None:
        """Write another piece behind what waits."""
        self.written_bytes += len(piece.body)
        self._put(piece.framed if self._is_framed else piece.body)

    def flush(self) -> int:
        """Try again to write what waits; how much of it still does."""
        rest, self._rest = self._rest, b""
        self._put(rest)
        return len(self._rest)

    def close(self) -> None:
        """End it. What still waits is cut off, and the client sees that something is missing."""
        if self._fd != _NO_FD:
            with socket.socket(fileno=self._fd) as ending, contextlib.suppress(OSError):  # it may have gone by itself
                self._fd, self.is_gone, self._rest = _NO_FD, True, b""
                self._duplicates.give_back()
                ending.shutdown(socket.SHUT_RDWR)

    def _put(self, octets: bytes | memoryview) -> None:
        """Write this behind what waits, and keep what the kernel does not take."""
        if self._rest:
            self._rest = b"".join((self._rest, octets))
            return
        if self.is_gone:
            return
        try:
            taken = os.write(self._fd, octets)
        except BlockingIOError:
            taken = 0
        except OSError:
            self.is_gone = True
            return
        if taken < len(octets):
            self._rest = memoryview(octets)[taken:]

    def _head_of(self, status: int, headers: Any) -> bytes:
        """Status and headers; the connection ends with its answer."""
        phrase = http.HTTPStatus(status).phrase
        own = [
            (b"date", formatdate(self._clock.wall_ns() / NS_PER_SECOND, usegmt=True).encode()),
            (b"connection", b"close"),
            *([(b"transfer-encoding", b"chunked")] if self._is_framed else []),
        ]
        lines = [b"%s: %s\r\n" % (name, value) for name, value in (*headers, *own) if name != b"content-length"]
        return b"HTTP/%s %d %s\r\n%s\r\n" % (self._version.encode(), status, phrase.encode(), b"".join(lines))
