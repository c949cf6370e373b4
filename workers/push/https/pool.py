"""The pusher's connections: one pool for all subscriptions, bounded in total and for each host, used again and again.

Rules: `post` is the only door and makes no task: it runs in its caller's. It ends at its time-out, whatever the
receiver does, with a PostReply or with a DeliveryError. A host is a name and port. Of a host that is not known yet one
connection is made, and the others wait to see whether it speaks HTTP/2; of HTTP/1.1 up to `per_host_max` are made; who
finds none free waits in line until its time-out (`busy`). At the bound of all connections the longest idle one gives
way. A connection that its receiver closed while a message was on its way, unread as far as anybody can tell, costs one
try on a new one: the message has an id, so a receiver tells it from a new message.

A receiver that fails (`is_suspect`), or whose last connection could not be used again for its own fault (cut, hung,
garbage), is dialled in the narrow lane (pace.py).
"""

import asyncio
import contextlib
import functools
import ssl
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import DeliveryError
from trinity.limits import PUSH_CONNECTION_AGE_SECONDS, PUSH_IDLE_SECONDS
from trinity.push.addresses import AllowList
from trinity.push.resolve import NameResolver
from trinity.push.targets import Target
from workers.push.https.answer import IncomingReply, PostReply
from workers.push.https.dial import Dialler
from workers.push.https.http1 import Http1Talk
from workers.push.https.http2 import Http2Talk
from workers.push.https.pace import Lane
from workers.push.https.tls import HTTP1, HTTP2

AnyTalk = Http1Talk | Http2Talk
# Shares of a processor for handshakes: two thirds, for after a restart every receiver is waiting; and a fifth, which
# brings back 100 a second of those that an outage made suspects.
_WIDE_REST, _NARROW_REST = 0.5, 4.0
# Idle connections are looked at this often, and so many are closed at a look: a goodbye costs 20 us.
_LOOK_SECONDS = 1.0
_CLOSED_A_LOOK = 200
_FAULTS = frozenset({"timeout", "protocol"})
# Hosts that are remembered for each connection that there may be; those without one are then forgotten.
_HOSTS_PER_CONNECTION = 2


class PoolBounds(NamedTuple):
    """Connections in all and of one host, how long an idle one is kept, and dials at once in each lane.

    Dials wait for the network, 0.3 s across an ocean, so that 256 make some 800 connections a second there; of those
    to suspects most hang until their time-out.
    """

    connections_max: int = 16_384
    per_host_max: int = 8
    idle_seconds: float = PUSH_IDLE_SECONDS
    dials_max: int = 256
    suspect_dials_max: int = 256


class PoolCounters(NamedTuple):
    """Connections now, and since the start: made, used again, made by resuming a TLS session."""

    open: int
    idle: int
    new_total: int
    reused_total: int
    resumed_total: int


class _Host:
    """The connections of one name and port."""

    __slots__ = ("dialling", "idle", "is_faulty", "protocol", "shared", "total", "waiting")

    def __init__(self) -> None:
        self.idle: list[AnyTalk] = []  # HTTP/1.1; the one used last is at the end, so the others may end by age
        self.shared: list[Http2Talk] = []
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.total = 0  # connections, those that are being made among them
        self.dialling = 0
        self.protocol = ""  # what it spoke last
        self.is_faulty = False

    def wake(self, count: int = 1) -> None:
        """Let those who wait longest look again."""
        while count > 0 and self.waiting:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                count -= 1


class ConnectionPool:
    """Make it inside the running loop; `close` it there."""

    def __init__(
        self,
        resolver: NameResolver,
        allow: AllowList,
        tls: ssl.SSLContext,
        bounds: PoolBounds,
        clock: Clock,
        random: Random,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._dialler = Dialler(resolver, allow, tls, clock)
        self._wide = Lane(bounds.dials_max, _WIDE_REST, clock)
        self._narrow = Lane(bounds.suspect_dials_max, _NARROW_REST, clock)
        self._bounds = bounds
        self._clock = clock
        self._random = random
        self._hosts: dict[tuple[str, int], _Host] = {}
        self._idle_since_ns: dict[AnyTalk, int] = {}  # in the order in which they became idle
        self._open = 0
        self._new_total = 0
        self._reused_total = 0
        self._looking = self._loop.call_later(_LOOK_SECONDS, self._look)

    async def post(
        self,
        target: Target,
        headers: Sequence[tuple[bytes, bytes]],
        body: bytes,
        timeout_s: float,
        *,
        is_suspect: bool = False,
    ) -> PostReply:
        """Deliver one message; DeliveryError tells why there is no answer."""
        deadline_s = self._loop.time() + timeout_s
        host = self._host(target)
        talk, is_new, is_retry = self._take(host), False, False
        while True:
            if talk is None:
                talk, is_new = await self._obtain(host, target, deadline_s, is_suspect, is_retry)
            answer = talk.post(target, headers, body)
            timer = self._loop.call_at(deadline_s, _expire, talk, answer, timeout_s)
            try:
                await answer.done
                host.is_faulty = answer.is_cut
                self._reused_total += not is_new
                return answer.reply(is_new, self._clock.wall_ns())
            except DeliveryError as error:
                host.is_faulty = error.kind in _FAULTS
                if is_new or is_retry or answer.has_begun or error.kind != "reset":
                    raise
            finally:
                timer.cancel()
                if answer.done.cancelled():
                    talk.give_up(answer, DeliveryError("timeout", "the delivery was called off"))
                self._give_back(host, talk)
            talk, is_retry = None, True

    def counters(self) -> PoolCounters:
        return PoolCounters(
            self._open, len(self._idle_since_ns), self._new_total, self._reused_total, self._dialler.resumed_total
        )

    async def close(self) -> None:
        """Say goodbye to every idle connection; whoever still waits for an answer gets it or its time-out."""
        self._looking.cancel()
        for talk in list(self._idle_since_ns):
            talk.close()

    def _host(self, target: Target) -> _Host:
        key = (target.host, target.port)
        host = self._hosts.get(key)
        if host is None:
            if len(self._hosts) >= _HOSTS_PER_CONNECTION * self._bounds.connections_max:
                self._hosts = {key: host for key, host in self._hosts.items() if host.total or host.waiting}
            host = self._hosts[key] = _Host()
        return host

    def _take(self, host: _Host) -> AnyTalk | None:
        """A connection that takes a POST now."""
        talk: AnyTalk | None = next((shared for shared in host.shared if shared.room > 0), None)
        if talk is None and host.idle:
            talk = host.idle.pop()
        if talk is not None:
            self._idle_since_ns.pop(talk, None)
        return talk

    def _give_back(self, host: _Host, talk: AnyTalk) -> None:
        if talk.is_open and not talk.in_flight:
            now_ns = self._clock.monotonic_ns()
            if now_ns > talk.retire_at_ns:
                talk.close()
                return
            self._idle_since_ns[talk] = now_ns
            if isinstance(talk, Http1Talk):
                host.idle.append(talk)
        if host.waiting:
            host.wake()

    async def _obtain(
        self, host: _Host, target: Target, deadline_s: float, is_suspect: bool, must_dial: bool
    ) -> tuple[AnyTalk, bool]:
        """(a connection, whether it is new); waits in line where the host has no room for another."""
        while True:
            has_room = host.total < self._bounds.per_host_max
            if has_room and (not host.dialling or host.protocol == HTTP1):
                self._make_room()
                return await self._dial(host, target, deadline_s, is_suspect), True
            await self._wait(host, deadline_s)
            talk = None if must_dial else self._take(host)
            if talk is not None:
                return talk, False

    async def _wait(self, host: _Host, deadline_s: float) -> None:
        turn = self._loop.create_future()
        host.waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline_s):
                await turn
        except BaseException as error:
            with contextlib.suppress(ValueError):
                host.waiting.remove(turn)
            if not turn.cancelled():
                host.wake()  # it was this one's turn: the next one's now
            if isinstance(error, TimeoutError):
                raise DeliveryError("busy", "every connection to this host is at work") from None
            raise

    def _make_room(self) -> None:
        """At the bound of all connections the longest idle one ends."""
        if self._open >= self._bounds.connections_max:
            if not self._idle_since_ns:
                raise DeliveryError("busy", f"all {self._bounds.connections_max} connections are at work")
            next(iter(self._idle_since_ns)).close()

    async def _dial(self, host: _Host, target: Target, deadline_s: float, is_suspect: bool) -> AnyTalk:
        host.total += 1
        host.dialling += 1
        self._open += 1
        talk: AnyTalk | None = None
        try:
            lane = self._narrow if is_suspect or host.is_faulty else self._wide
            talk = await self._dialler.dial(target, lane, deadline_s)
        finally:
            host.dialling -= 1
            if talk is None:
                self._forget(host)
        if talk.error is not None:
            self._forget(host)
            raise talk.error
        self._new_total += 1
        age_s = PUSH_CONNECTION_AGE_SECONDS * self._random.uniform(0.75, 1.25)
        talk.retire_at_ns = self._clock.monotonic_ns() + int(age_s * NS_PER_SECOND)
        talk.on_end = functools.partial(self._ended, host, talk)
        if isinstance(talk, Http2Talk):
            host.protocol = HTTP2
            host.shared.append(talk)
            host.wake(talk.room - 1)
        else:
            host.protocol = HTTP1
            host.wake(self._bounds.per_host_max - host.total)
        return talk

    def _ended(self, host: _Host, talk: AnyTalk) -> None:
        """The connection is closed, whoever closed it."""
        if self._idle_since_ns.pop(talk, None) is not None and isinstance(talk, Http1Talk):
            host.idle.remove(talk)
        if isinstance(talk, Http2Talk):
            host.shared.remove(talk)
        self._forget(host)

    def _forget(self, host: _Host) -> None:
        host.total -= 1
        self._open -= 1
        host.wake()

    def _look(self) -> None:
        """Close what was idle for too long, the longest first, and no more than is good for those who are not."""
        since_ns = self._clock.monotonic_ns() - int(self._bounds.idle_seconds * NS_PER_SECOND)
        closing: list[AnyTalk] = []
        for talk, idle_since_ns in self._idle_since_ns.items():
            if idle_since_ns > since_ns or len(closing) == _CLOSED_A_LOOK:
                break
            closing.append(talk)
        for talk in closing:
            talk.close()
        self._looking = self._loop.call_later(_LOOK_SECONDS, self._look)


def _expire(talk: AnyTalk, answer: IncomingReply, timeout_s: float) -> None:
    words = "its answer was not whole" if answer.has_begun else "no answer"
    talk.give_up(answer, DeliveryError("timeout", f"{words} within {timeout_s:g} s"))
