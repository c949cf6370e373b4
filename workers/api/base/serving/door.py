"""The door of 9090: what granian does not bound itself. Who sends no request, or half of one, gives way in time.

Rules: connections without a call are the guard's (trinity/net/guard.py), which is told of each call here. The body of a
call, which no handler needs for longer than moments, is due as a head is: until it is there the connection counts as
one with a call, which never gives way. Trusted proxies have no bound for themselves.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from trinity.clock import NS_PER_SECOND, Clock
from trinity.limits import HEAD_MAX_NS
from trinity.net.guard import ConnectionBounds, Guard
from workers.api.base.callers.forwarded import NetworkSet, address_of
from workers.api.base.problems import ProblemError
from workers.api.base.serving.direct import CallConnection, Duplicates, may_be_direct

# Beside the connections with a call, which their own bounds keep below what granian serves at once (server.py).
BOUNDS = ConnectionBounds(most=1536, of_address=1024)
BODY_SECONDS = HEAD_MAX_NS / NS_PER_SECOND


def make_guard(trusted_proxies: Sequence[str]) -> Guard:
    """The guard of a reporter's connections."""
    proxies = NetworkSet(trusted_proxies)
    return Guard(BOUNDS, lambda host: proxies.holds(address_of(host.partition("%")[0])))


class GuardedApp:
    """The ASGI application around all others: it alone sees the connection's own peer."""

    def __init__(self, app: ASGIApp, guard: Guard, duplicates: Duplicates, clock: Clock) -> None:
        self._app = app
        self._guard = guard
        self._duplicates = duplicates
        self._clock = clock
        self.is_leaving = False  # each answer is the last one of its connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.is_leaving and scope["type"] == ScopeType.HTTP:
            send = _closing(send)
        client = scope.get("client")  # of granian: both are text
        if client is None:
            await self._app(scope, receive, send)
            return
        peer = client[0], int(client[1])
        with self._guard.call(peer, self._clock.monotonic_ns):
            if scope["type"] != ScopeType.HTTP:
                await self._app(scope, receive, send)
            elif not may_be_direct(scope["http_version"], scope["method"]):
                await self._app(scope, _in_time(receive), send)
            else:
                connection = CallConnection(peer, scope["http_version"], send, self._duplicates, self._clock)
                scope.setdefault("state", {})["connection"] = connection
                with contextlib.closing(connection):
                    await self._app(scope, _in_time(receive), connection.send)


def _closing(send: Send) -> Send:
    """The same, with the header that ends the connection behind the answer (RFC 9112, 9.6)."""

    async def send_last(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return send_last


def _in_time(receive: Receive) -> Receive:
    """The same, but the whole body is due after BODY_SECONDS; what comes behind it is the client's leaving."""
    due: float | None = asyncio.get_running_loop().time() + BODY_SECONDS

    async def receive_in_time() -> Any:
        nonlocal due
        try:
            async with asyncio.timeout_at(due):
                message: Any = await receive()
        except TimeoutError:
            raise ProblemError(408, "body_timeout", f"the body is not there after {BODY_SECONDS:g} s") from None
        if not message.get("more_body", False):
            due = None
        return message

    return receive_in_time
