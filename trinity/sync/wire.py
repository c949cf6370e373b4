"""Bulk bytes to Valkey: commands that are bytes already, sent to the server that has their name, replies counted.

The client of trinity/cache makes each command, and its reply, an object in Python: 20 us each. Here a reply is a line
feed, and what begins with a minus is an error. Address, user, TLS and slots are the same.

Rules: every reply is one line (integers, OK): nothing else may be sent by `send`. So much is under way that the server
always has work, and so little that its replies fit into the socket: nobody waits for the other. A server that is silent
is given up. What was done when that happens is unknown, so everything that is sent may be sent again.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from valkey.connection import Connection, SSLConnection
from valkey.crc import key_slot
from valkey.exceptions import ResponseError, ValkeyError

from trinity.cache.address import CacheSettings
from trinity.cache.slots import CacheServer, read_slots
from trinity.errors import CacheReplyError, CacheUnavailableError
from trinity.sync.entries import Bytes2D, Commands

# A server that saves to disk stands still for a second; one that deletes a large set, shorter.
SILENCE_SECONDS = 10.0
# Replies under way: 5 bytes each, of the 64 KB and more that a socket takes.
_WINDOW = 2_048
_SLICE_BYTES = 1 << 17
_SLOTS = 16_384


def _crc_of(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = value << 1 ^ (0x1021 if value & 0x8000 else 0)
    return value & 0xFFFF


_CRC = np.array([_crc_of(byte) for byte in range(256)], dtype=np.uint16)


class BulkLink:
    """One connection to one server."""

    def __init__(self, server: CacheServer, settings: CacheSettings) -> None:
        address = settings.address
        common: dict[str, Any] = {
            "host": server.host, "port": server.port, "db": address.database, "username": address.user,
            "password": address.password, "socket_timeout": SILENCE_SECONDS, "socket_connect_timeout": SILENCE_SECONDS,
        }  # fmt: skip
        self.server = server
        if address.is_tls:
            files = {"ssl_ca_certs": settings.ca_file} if settings.ca_file else {}
            self._connection: Connection = SSLConnection(ssl_check_hostname=True, **files, **common)  # type: ignore[no-untyped-call]
        else:
            self._connection = Connection(**common)  # type: ignore[no-untyped-call]

    def ask(self, *words: str | int) -> Any:
        """The reply of one command; CacheUnavailableError, and CacheReplyError for a refusal."""
        try:
            self._connection.send_command(*words)  # type: ignore[no-untyped-call]
            return self._connection.read_response()  # type: ignore[no-untyped-call]
        except ResponseError as error:
            raise _refusal(str(error)) from None
        except (ValkeyError, OSError) as error:
            raise _gone(error) from None

    def send(self, data: Sequence[tuple[bytes, int]]) -> None:
        """Bytes with the number of their replies each; CacheReplyError with the first refusal, after all replies."""
        try:
            self._connection.connect()  # type: ignore[no-untyped-call]
            self._send(data)
        except (ValkeyError, OSError) as error:
            self.close()
            raise _gone(error) from None

    def close(self) -> None:
        self._connection.disconnect()  # type: ignore[no-untyped-call]

    def _send(self, data: Sequence[tuple[bytes, int]]) -> None:
        socket = self._connection._sock  # noqa: SLF001 - bytes as they are: the library has no way for that
        assert socket is not None, "it is connected"
        waiting, refusal, rest = 0, "", b""
        for piece, replies in [*data, (b"", 0)]:
            while waiting > (_WINDOW if piece else 0):
                got = socket.recv(1 << 16)
                if not got:
                    raise ConnectionError("the server closed the connection")
                waiting -= got.count(b"\n")
                if rest or b"-" in got:  # no number is less than zero: a refusal, whole or not
                    *lines, rest = (rest + got).split(b"\n")
                    refusal = refusal or next((line.decode() for line in lines if line.startswith(b"-")), "")
            socket.sendall(piece)
            waiting += replies
        if refusal:
            raise _refusal(refusal[1:].strip())


class Bulk:
    """The servers of a Valkey, one or a cluster's, each with a thread that sends."""

    def __init__(self, settings: CacheSettings) -> None:
        home = CacheServer(settings.address.host, settings.address.port)
        self._home = BulkLink(home, settings)
        self.links = [self._home]
        self._of_slot: dict[int, int] = {}
        if settings.is_cluster:
            slots = read_slots(self._home.ask("CLUSTER", "SLOTS"), home)
            servers = sorted(set(slots.values()))
            self.links = [BulkLink(server, settings) for server in servers]
            self._of_slot = {slot: servers.index(server) for slot, server in slots.items()}
            if len(self._of_slot) < _SLOTS:
                raise CacheUnavailableError(f"{_SLOTS - len(self._of_slot)} slots of the cluster have no server")
            self._place_of_slot = np.array([self._of_slot[slot] for slot in range(_SLOTS)])
        self._threads = ThreadPoolExecutor(len(self.links), "sync")

    def place_of(self, name: bytes | str) -> int:
        """Which of the links has a name."""
        if not self._of_slot:
            return 0
        return self._of_slot[key_slot(name if isinstance(name, bytes) else name.encode())]

    def cut(self, names: Bytes2D, data: bytes, ends: NDArray[np.int64]) -> Iterator[Commands]:
        """The bytes of some entries, a row a name, for the server of each."""
        if len(self.links) == 1:
            yield Commands(b"", data, 2 * len(ends))
            return
        places, starts = self._place_of_slot[slots_of(names)], [0, *ends.tolist()]
        for place in np.unique(places).tolist():
            rows = np.flatnonzero(places == place).tolist()
            part = b"".join(data[starts[row] : starts[row + 1]] for row in rows)
            yield Commands(names[rows[0]].tobytes(), part, 2 * len(rows))

    def start(self, commands: Iterable[Commands]) -> "Future[None]":
        """Begin to send; the result says whether all was taken."""
        places: list[list[Commands]] = [[] for _ in self.links]
        for one in commands:
            places[self.place_of(one.name)].append(one)
        return self._threads.submit(self._send, places)

    def send(self, commands: Iterable[Commands]) -> None:
        """Send, and wait until all was taken."""
        self.start(commands).result()

    def _send(self, places: Sequence[Sequence[Commands]]) -> None:
        for link, commands in zip(self.links, places, strict=True):
            if commands:
                link.send(_slices(commands))

    def close(self) -> None:
        self._threads.shutdown()
        for link in {*self.links, self._home}:
            link.close()


def slots_of(names: Bytes2D) -> NDArray[np.uint16]:
    """The slots of names without hash tags, a row each: CRC16 (XMODEM) of all of them at once."""
    found = np.zeros(len(names), dtype=np.uint16)
    for column in range(names.shape[1]):
        found = found << np.uint16(8) ^ _CRC[found >> np.uint16(8) ^ names[:, column]]
    return found & np.uint16(_SLOTS - 1)


def _slices(commands: Sequence[Commands]) -> list[tuple[bytes, int]]:
    """Joined to what is sent at once."""
    made: list[tuple[bytes, int]] = []
    parts: list[bytes] = []
    size = replies = 0
    for one in commands:
        parts.append(one.data)
        size, replies = size + len(one.data), replies + one.replies
        if size >= _SLICE_BYTES or replies >= _WINDOW:
            made.append((b"".join(parts), replies))
            parts, size, replies = [], 0, 0
    return [*made, (b"".join(parts), replies)] if parts else made


def _refusal(text: str) -> CacheReplyError:
    code, _, rest = text.partition(" ")
    return CacheReplyError(code, rest)


def _gone(error: Exception) -> CacheUnavailableError:
    if isinstance(error, TimeoutError):
        return CacheUnavailableError(f"no answer within {SILENCE_SECONDS:g} s")
    return CacheUnavailableError(" ".join(str(error).split()) or type(error).__name__)
