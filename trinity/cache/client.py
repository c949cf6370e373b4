"""What everybody asks Valkey with: pipelined, bounded in time, and silent while it is away.

    run       one round trip of many commands; an error reply is a CacheReplyError in its place
    script    the same script for many names, by its hash; a server that does not know it yet is told
    get, set  one name

Rules: whatever goes wrong is one CacheUnavailableError with the reason, never another error, and while the circuit is
open it is raised at once. One bound holds for all of a call: waiting for a connection, connecting, TLS, asking, all
replies. What had been done when it was reached is unknown; nothing is asked again by itself, save what a cluster's
server refused to do because another one has the name. A server that lost its place (a replica that is asked to write,
a cluster without all slots) is away. One that is full answers: what it refuses is an error reply, and the watcher is
told. A client belongs to one event loop. Nothing that answers lookups may wait for it.
"""

import asyncio
import hashlib
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any, Protocol, TypeVar

from valkey.exceptions import DataError, NoScriptError, ResponseError

from trinity.cache.address import CacheSettings
from trinity.cache.breaker import BreakerState, CircuitBreaker
from trinity.cache.replies import error_of, is_full
from trinity.cache.route import FAILURES, CacheRoute, ClusterRoute, HomeRoute
from trinity.cache.slots import Command
from trinity.clock import Clock, SystemClock
from trinity.errors import CacheReplyError, CacheUnavailableError

# A round trip takes 0.2 ms; a server that saves to disk or begins a TLS connection, some 10.
TIMEOUT_SECONDS = 0.25
# Commands that a full server refuses: one of them that went well says that there is room again.
_GROWING = frozenset({"SET", "HSET", "ZADD", "INCRBY"})

Name = bytes | str
_T = TypeVar("_T")


class CacheWatcher(Protocol):
    """Who is told how the cache does (trinity/observe/cache_meter.py)."""

    def up(self) -> None:
        """It answers; told at the first answer, and when it is back."""

    def down(self, reason: str) -> None:
        """The circuit opened, or a try failed again."""

    def failed(self) -> None:
        """A question came to nothing, those of an open circuit not counted."""

    def full(self, is_full: bool) -> None:
        """It refuses what needs memory, or does no longer."""


class CacheScript:
    """A script that changes one name, or several of one hash tag, at once on the server."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.digest = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


class CacheClient:
    """The asynchronous client."""

    def __init__(self, settings: CacheSettings, clock: Clock, watcher: CacheWatcher | None) -> None:
        self._route: CacheRoute = ClusterRoute(settings) if settings.is_cluster else HomeRoute(settings)
        self._clock, self._watcher = clock, watcher
        self._breaker = CircuitBreaker(Random())
        self._is_told: bool | None = None  # of being up
        self._is_full = False
        self._reason = "it was not asked yet"

    @classmethod
    def open(cls, settings: CacheSettings, clock: Clock, watcher: CacheWatcher | None = None) -> "CacheClient":
        """Nothing is connected before the first question."""
        return cls(settings, clock, watcher)

    @property
    def is_up(self) -> bool:
        """Whether the circuit is closed."""
        return self._breaker.state is BreakerState.CLOSED

    async def run(self, commands: Sequence[Command], timeout_seconds: float = TIMEOUT_SECONDS) -> list[Any]:
        """The replies of one pipelined round trip; CacheUnavailableError when there are none."""
        if not commands:
            return []
        if not self._breaker.allows(self._clock.monotonic_ns()):
            raise CacheUnavailableError(self._reason)
        try:
            async with asyncio.timeout(timeout_seconds):
                replies = await self._route.exchange(commands)
        except DataError:
            self._on_good()
            raise  # ours: a value that is no text and no number
        except FAILURES as error:
            self._on_failure(_reason_of(error, timeout_seconds))
            raise CacheUnavailableError(self._reason) from None
        except asyncio.CancelledError:
            self._on_failure("the question was given up")
            raise
        self._on_good()
        self._note_room(commands, replies)
        return [error_of(reply) if isinstance(reply, ResponseError) else reply for reply in replies]

    async def script(
        self,
        script: CacheScript,
        calls: Sequence[tuple[Name | tuple[Name, ...], Sequence[bytes | str | int]]],
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> list[Any]:
        """The script's reply for each name (or names of one hash tag) and arguments."""
        placed = [(names if isinstance(names, tuple) else (names,), arguments) for names, arguments in calls]
        replies = await self.run(
            [("EVALSHA", script.digest, len(names), *names, *arguments) for names, arguments in placed],
            timeout_seconds,
        )
        unknown = [i for i, reply in enumerate(replies) if isinstance(reply, CacheReplyError) and reply.is_no_script]
        if unknown:  # a server that was started anew; EVAL makes it known
            again = [("EVAL", script.source, len(placed[i][0]), *placed[i][0], *placed[i][1]) for i in unknown]
            for i, reply in zip(unknown, await self.run(again, timeout_seconds), strict=True):
                replies[i] = reply
        return replies

    async def get(self, name: Name, timeout_seconds: float = TIMEOUT_SECONDS) -> bytes | None:
        """What stands under a name; a refusal (no right to read it) is an unavailable cache as well."""
        (value,) = await self.run([("GET", name)], timeout_seconds)
        if isinstance(value, CacheReplyError):
            raise CacheUnavailableError(str(value))
        assert value is None or isinstance(value, bytes)
        return value

    async def set(
        self, name: Name, value: bytes | str | int, seconds: int, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        """Put a value under a name for so long; a refusal (it is full) is an unavailable cache as well."""
        (reply,) = await self.run([("SET", name, value, "EX", seconds)], timeout_seconds)
        if isinstance(reply, CacheReplyError):
            raise CacheUnavailableError(str(reply))

    async def close(self) -> None:
        """Close all connections."""
        await self._route.close()

    # --- how it does ----------------------------------------------------------------------------------------------

    def _on_good(self) -> None:
        self._breaker.on_good(self._clock.monotonic_ns())
        if self._is_told is not True and self._watcher is not None:
            self._watcher.up()
        self._is_told = True

    def _on_failure(self, reason: str) -> None:
        self._reason = reason
        self._breaker.on_failure(self._clock.monotonic_ns())
        if self._watcher is not None:
            self._watcher.failed()
            if not self.is_up:
                self._watcher.down(reason)
        if not self.is_up:
            self._is_told = False

    def _note_room(self, commands: Sequence[Command], replies: Sequence[Any]) -> None:
        refused = any(is_full(reply) for reply in replies)
        if self._watcher is not None:
            for reply in replies:
                if isinstance(reply, ResponseError) and not isinstance(reply, NoScriptError):
                    self._watcher.failed()
        if refused or (self._is_full and any(command[0] in _GROWING for command in commands)):
            if self._watcher is not None and refused != self._is_full:
                self._watcher.full(refused)
            self._is_full = refused


class SyncCacheClient:
    """The same for threads and commands: a client with an event loop of its own, to be used in one thread."""

    def __init__(self, client: CacheClient) -> None:
        self._client = client
        self._runner = asyncio.Runner()

    @classmethod
    def open(
        cls, settings: CacheSettings, clock: Clock | None = None, watcher: CacheWatcher | None = None
    ) -> "SyncCacheClient":
        return cls(CacheClient.open(settings, clock or SystemClock(), watcher))

    @property
    def is_up(self) -> bool:
        return self._client.is_up

    def run(self, commands: Sequence[Command], timeout_seconds: float = TIMEOUT_SECONDS) -> list[Any]:
        return self._wait(self._client.run(commands, timeout_seconds))

    def script(
        self,
        script: CacheScript,
        calls: Sequence[tuple[Name | tuple[Name, ...], Sequence[bytes | str | int]]],
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> list[Any]:
        return self._wait(self._client.script(script, calls, timeout_seconds))

    def get(self, name: Name, timeout_seconds: float = TIMEOUT_SECONDS) -> bytes | None:
        return self._wait(self._client.get(name, timeout_seconds))

    def set(self, name: Name, value: bytes | str | int, seconds: int, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._wait(self._client.set(name, value, seconds, timeout_seconds))

    def close(self) -> None:
        self._wait(self._client.close())
        self._runner.close()

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self._runner.run(_after_news(work))


async def _after_news(work: Coroutine[Any, Any, _T]) -> _T:
    """What happened while the loop stood still is heard first: a connection that was closed is not asked once more."""
    for _ in range(2):  # one turn looks at the sockets, the next calls what waits for them
        await asyncio.sleep(0)
    return await work


def _reason_of(error: BaseException, timeout_seconds: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout_seconds:g} s"
    words = " ".join(str(error).split())
    return words or type(error).__name__
