"""The way of a round trip: to one server, or to each server of a Valkey Cluster what is its own, side by side.

Rules: a command goes again by itself only where a server refused to run it because another one has its name (MOVED,
ASK), so nothing is ever done twice. After a MOVED, and after anything that went wrong, the slots are read anew before
the next round trip: a server that failed over has a successor, which the others know. A server that lost its place (a
replica that is asked to write, a cluster without all of its slots) is a failure, as if it were away.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Protocol

from valkey.exceptions import (
    AskError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    ValkeyError,
)

from trinity.cache.address import CacheSettings
from trinity.cache.server import ServerConnections
from trinity.cache.slots import CacheServer, Command, read_slots, slot_of

# What the library, TLS, the resolver, or garbage of a peer that is no Valkey raise.
FAILURES = (ValkeyError, OSError, TimeoutError, EOFError, ValueError, RecursionError)
# A name that moves is found at the second server; one that moves while it is asked for, at the third.
_ROUNDS_MAX = 4
# Of each server that is asked for the slots: one that is silent leaves time for the next one within the caller's bound.
_SLOTS_SECONDS = 0.1


class CacheRoute(Protocol):
    """How the replies of commands are got."""

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """A reply for each command; an error reply is a ResponseError in its place. Raises FAILURES."""

    async def close(self) -> None:
        """Close all connections."""


class HomeRoute:
    """The one server of the address."""

    def __init__(self, settings: CacheSettings) -> None:
        server = CacheServer(settings.address.host, settings.address.port)
        self._server = ServerConnections(server, settings, tls_of(settings))

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        replies = await self._server.exchange(commands)
        try:
            _raise_placeless(replies)
        except ResponseError:
            await self._server.close()  # its name may stand for another server by now
            raise
        return replies

    async def close(self) -> None:
        await self._server.close()


class ClusterRoute:
    """All servers of a Valkey Cluster; that of the address is the first that is asked for the others."""

    def __init__(self, settings: CacheSettings) -> None:
        self._settings, self._tls = settings, tls_of(settings)
        self._home = CacheServer(settings.address.host, settings.address.port)
        self._servers: dict[CacheServer, ServerConnections] = {}
        self._slots: dict[int, CacheServer] = {}
        self._are_slots_known = False
        self._silent: set[CacheServer] = set()  # those that were asked and have not answered

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        try:
            if not self._are_slots_known:
                await self._read_slots()
            replies: list[Any] = [None] * len(commands)
            places = {i: self._place_of(command) for i, command in enumerate(commands)}
            asking: set[int] = set()
            for _ in range(_ROUNDS_MAX):
                await self._ask(commands, places, asking, replies)
                places, asking = self._redirected(replies, places)
                if not places:
                    break
            _raise_placeless(replies)
        except BaseException:
            self._are_slots_known = False
            raise
        return replies

    async def close(self) -> None:
        for server in self._servers.values():
            await server.close()

    async def _ask(
        self, commands: Sequence[Command], places: dict[int, CacheServer], asking: set[int], replies: list[Any]
    ) -> None:
        """Fill in the replies of the commands that have a place."""
        by_server: dict[CacheServer, list[int]] = {}
        for i, server in places.items():
            by_server.setdefault(server, []).append(i)

        async def ask(server: CacheServer, numbers: list[int]) -> None:
            batch: list[Command] = []
            for i in numbers:
                batch += [("ASKING",), commands[i]] if i in asking else [commands[i]]
            self._silent.add(server)  # until it answers
            answers = iter(await self._server(server).exchange(batch))
            self._silent.discard(server)
            for i in numbers:
                if i in asking:
                    next(answers)
                replies[i] = next(answers)

        results = await asyncio.gather(*(ask(*one) for one in by_server.items()), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _redirected(self, replies: list[Any], asked: dict[int, CacheServer]) -> tuple[dict[int, CacheServer], set[int]]:
        """Where the commands belong that another server has, and which of them are asked for amid a move."""
        places: dict[int, CacheServer] = {}
        asking: set[int] = set()
        for i in asked:
            reply = replies[i]
            if isinstance(reply, AskError):  # MovedError is one
                places[i] = CacheServer(reply.host or asked[i].host, reply.port)
                if isinstance(reply, MovedError):
                    self._slots[reply.slot_id] = places[i]
                    self._are_slots_known = False  # seldom the only one that moved
                else:
                    asking.add(i)
        return places, asking

    async def _read_slots(self) -> None:
        """From the first server that answers; those that did not answer last are asked last."""
        failure: Exception | None = None
        known = dict.fromkeys([*self._slots.values(), self._home])
        for server in sorted(known, key=lambda server: server in self._silent):
            try:
                async with asyncio.timeout(_SLOTS_SECONDS):
                    (answer,) = await self._server(server).exchange([("CLUSTER", "SLOTS")])
                if isinstance(answer, ResponseError):
                    raise answer
                self._slots = read_slots(answer, server)
            except FAILURES as error:
                self._silent.add(server)
                failure = error
                continue
            self._are_slots_known = True
            await self._forget_servers()
            return
        assert failure is not None, "the address is always asked"
        raise failure

    async def _forget_servers(self) -> None:
        """Connections of servers that have no slots any more."""
        wanted = {*self._slots.values(), self._home}
        self._silent &= wanted
        for server in [server for server in self._servers if server not in wanted]:
            await self._servers.pop(server).close()

    def _place_of(self, command: Command) -> CacheServer:
        slot = slot_of(command)
        if slot is None:
            return next(iter(self._slots.values()), self._home)
        if slot not in self._slots:
            raise ClusterDownError(f"no server has slot {slot}")  # type: ignore[no-untyped-call]
        return self._slots[slot]

    def _server(self, server: CacheServer) -> ServerConnections:
        if server not in self._servers:
            self._servers[server] = ServerConnections(server, self._settings, self._tls)
        return self._servers[server]


def tls_of(settings: CacheSettings) -> ssl.SSLContext | None:
    """The system's authorities and one more, with the host's name checked; None for a plain address."""
    if not settings.address.is_tls:
        return None
    context = ssl.create_default_context()
    if settings.ca_file:
        context.load_verify_locations(settings.ca_file)
    return context


def _raise_placeless(replies: Sequence[Any]) -> None:
    for reply in replies:
        if isinstance(reply, (ReadOnlyError, ClusterDownError, MasterDownError)):
            raise reply
