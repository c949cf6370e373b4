"""Every call of the reporting service: its request id, its length, and its row in report_usage_log.

Rules
- The outermost layer, around the router: a path that does not exist is a call as well.
- A call never waits for its row: rows gather in memory, a task of its own writes them once a second. A database that is
  down costs no call; what does not fit into the bound is lost, and counted.
- What a handler put into `state["on_end"]` is called when its response has ended, however that was.
- A reader that takes nothing for `STALL_SECONDS` is gone: its response ends, and what it held is free.
"""

import asyncio
import ipaddress
import logging
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from trinity.clock import NS_PER_SECOND, NS_PER_US, Clock
from trinity.memory.control import ProcessBlock
from trinity.metrics import REPORTER
from trinity.store.queries import load

# Rows that wait for the database: ten minutes of 100 calls a second, some 20 MB.
ROWS_WAITING_MAX = 60_000
WRITE_SECONDS = 1.0
# A table that is locked must not hold the writer for ever.
WRITE_TIMEOUT_SECONDS = 5.0
# As long as a lookup's reader may take nothing (STALL_MAX_NS).
STALL_SECONDS = 30.0
# The longest path that is worth keeping.
PATH_LETTERS_MAX = 200

_LOST = REPORTER.index("report_log_lost_total")
_WAITING = REPORTER.index("report_log_waiting")
_REQUESTS = {group: REPORTER.index("report_requests_total", group) for group in ("1xx", "2xx", "3xx", "4xx", "5xx")}


class Call(NamedTuple):
    """A row of report_usage_log, in the order of its columns."""

    time: datetime
    request_id: uuid.UUID
    account_id: int | None
    key_id: int | None
    path: str
    status: int
    latency_us: int
    bytes: int
    address: ipaddress.IPv4Address | ipaddress.IPv6Address


class CallLog:
    """Rows on their way to the database."""

    def __init__(self, block: ProcessBlock, open_connection: Callable[[], Any]) -> None:
        self._block = block
        self._open = open_connection
        self._rows: deque[Call] = deque()

    def add(self, call: Call) -> None:
        """Keep a row; the oldest is lost when there is no room."""
        if len(self._rows) >= ROWS_WAITING_MAX:
            self._rows.popleft()
            self._block.count(_LOST)
        self._rows.append(call)
        self._block.count(_REQUESTS[f"{call.status // 100}xx"])

    async def write_waiting(self) -> None:
        """Write what waits, in one transaction; on failure it waits on."""
        count = len(self._rows)
        if not count:
            return
        rows = [self._rows[index] for index in range(count)]
        last = rows[-1]
        async with (
            asyncio.timeout(WRITE_TIMEOUT_SECONDS),
            await self._open() as connection,
            connection.cursor() as cursor,
            cursor.copy(load("reports.write_calls")) as copy,
        ):
            for row in rows:
                await copy.write_row(row)
        while self._rows and self._rows[0] is not last:
            self._rows.popleft()
        self._rows.popleft()

    async def run(self, log: logging.Logger) -> None:
        """Write once a second until cancelled; what still waits then gets one more try."""
        was_up = True
        try:
            while True:
                await asyncio.sleep(WRITE_SECONDS)
                was_up = await self._try(log, was_up)
        finally:
            await self._try(log, was_up)

    async def _try(self, log: logging.Logger, was_up: bool) -> bool:
        try:
            await self.write_waiting()
        except (psycopg.Error, TimeoutError) as error:
            if was_up:
                log.warning("call log waits for the database", extra={"fields": {"reason": type(error).__name__}})
            return False
        finally:
            self._block.set_gauge(_WAITING, len(self._rows))
        return True


class AccountedApp:
    """The ASGI application around the router."""

    def __init__(self, app: ASGIApp, calls: CallLog, clock: Clock, log: logging.Logger) -> None:
        self._app = app
        self._calls = calls
        self._clock = clock
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_ns, started_wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        request_id = uuid.uuid4()
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = str(request_id)
        header = (b"x-request-id", str(request_id).encode())
        status, sent_bytes = (101 if scope["type"] == ScopeType.WEBSOCKET else 500), 0

        async def send_counted(message: Message) -> None:
            nonlocal status, sent_bytes
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            elif message["type"] == "http.response.body":
                sent_bytes += len(message.get("body", b""))
            async with asyncio.timeout(STALL_SECONDS):
                await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            for end in state.get("on_end", ()):
                await end()
            if state.get("failure") is not None:
                fields = {"request_id": str(request_id), "path": scope["path"][:PATH_LETTERS_MAX]}
                self._log.error("call failed", exc_info=state["failure"], extra={"fields": fields})
            caller = state.get("caller")
            self._calls.add(
                Call(
                    datetime.fromtimestamp(started_wall_ns / NS_PER_SECOND, UTC),
                    request_id,
                    (caller.account_id or None) if caller else None,
                    (caller.key_id or None) if caller else None,
                    scope["path"][:PATH_LETTERS_MAX].replace("\0", ""),
                    status,
                    (self._clock.monotonic_ns() - started_ns) // NS_PER_US,
                    sent_bytes,
                    address_of(scope),
                )
            )


def address_of(scope: Scope) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Where the call came from."""
    client = scope.get("client")
    return ipaddress.ip_address(client[0] if client else "0.0.0.0")
