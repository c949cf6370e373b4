"""Connections of one Valkey server, and one pipelined round trip over one of them.

Rules: built on the connections of the `valkey` client (6.2.0), without its pools, retries and time-outs, because

    its own time-out makes a task of each send, and starts anew with each reply: the caller's one bound (client.py)
    holds for all of a round trip, connecting included;
    its cluster client asks a pipeline again after a time-out, up to three times, whatever was done the first time.

A round trip that did not end well costs its connection, and the idle ones with it: no connection is ever used again
after a time-out in the middle of a reply, and after a restart of the server none is found dead twice. Error replies are
values of the round trip, not its end.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

from valkey.asyncio.cluster import ClusterParser
from valkey.asyncio.connection import Connection
from valkey.exceptions import ResponseError

from trinity.cache.address import CacheSettings
from trinity.cache.slots import CacheServer, Command
from trinity.version import version

# Round trips that are under way with one server, of one client; more of them wait within their own bound.
CONNECTIONS_MAX = 8


class _TlsConnection(Connection):
    """With one context for all connections: the library reads the system's authorities anew for each."""

    def __init__(self, *, tls: ssl.SSLContext, **settings: Any) -> None:
        self._tls = tls
        super().__init__(**settings)

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls}


class ServerConnections:
    """The way to one server."""

    def __init__(self, server: CacheServer, settings: CacheSettings, tls: ssl.SSLContext | None) -> None:
        self._server, self._settings, self._tls = server, settings, tls
        self._idle: list[Connection] = []
        self._room = asyncio.Semaphore(CONNECTIONS_MAX)

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """One reply for each command, in their order; an error reply is a ResponseError in its place."""
        async with self._room:
            connection = self._idle.pop() if self._idle else self._make()
            is_whole = False
            try:
                packed = connection.pack_commands(commands)
                if connection.is_connected and await connection.can_read_destructive():  # type: ignore[no-untyped-call]
                    await connection.disconnect(nowait=True)  # the server closed it meanwhile
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_packed_command(packed, check_health=False)
                replies = [await _reply(connection) for _ in commands]
                is_whole = True
            finally:
                if not is_whole:
                    self._idle.append(connection)
                    await self.close()
            self._idle.append(connection)
            return replies

    async def close(self) -> None:
        """Close what is idle, without a word to the server: it may not listen."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.disconnect(nowait=True)
        await asyncio.sleep(0)  # sockets are closed in the loop's next turn: after this it may have none

    def _make(self) -> Connection:
        address = self._settings.address
        settings: dict[str, Any] = {
            "host": self._server.host,
            "port": self._server.port,
            "db": address.database,
            "username": address.user,
            "password": address.password,
            "socket_timeout": None,  # the library's is 5 s
            "socket_keepalive": True,
            "parser_class": ClusterParser,  # it tells MOVED and ASK as such
            "lib_name": "trinity",
            "lib_version": version(),
        }
        return Connection(**settings) if self._tls is None else _TlsConnection(tls=self._tls, **settings)


async def _reply(connection: Connection) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error
