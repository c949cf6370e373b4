"""Every call of the reporting service: its request id, its length, and its row in report_usage_log.

Rules
- The outermost layer, around the router: a path that does not exist is a call as well, and so is a refused WebSocket.
  Who calls is found here (forwarded.py), for everything inside; a blocked caller gets no further.
- A call never waits for its row: rows gather in memory, a task of its own writes them once a second. A database that is
  down costs no call; what does not fit into the bound is lost, and counted. So is a row that the database will never
  take; it holds up no other.
- Anybody can cause refusals without a key: of each second REFUSALS_A_SECOND have a row, with the number of those that
  have none (`weight`).
- The path of a call is its route's template (`path_of`), in the row and in the log.
- Answers are about a caller and a moment: nobody keeps one (`Cache-Control: no-store`) whose handler does not say else.
- HEAD is GET whose body is left out; what has no end is ended with its headers.
- What `state["settle"]` says of the status of an answer to somebody who was let in goes out with it: headers, or a
  refusal in its place.
- What a handler put into `state["on_end"]` is called when its response has ended, however that was.
- A reader that takes nothing for `STALL_SECONDS` is gone: its response ends, and what it held is free.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice, takewhile
from typing import Any, NamedTuple

import psycopg
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from trinity.clock import NS_PER_SECOND, NS_PER_US, Clock
from trinity.memory.control import ProcessBlock
from trinity.observe.log import Outage
from trinity.observe.metrics import REPORTER
from trinity.store.queries import load
from workers.api.base.callers.forwarded import Address, Callers, address_of
from workers.api.base.problems import ProblemError, refusal_of, refuse

# Rows that wait for the database: ten minutes of 100 calls a second, some 20 MB.
ROWS_WAITING_MAX = 60_000
WRITE_SECONDS = 1.0
# A table that is locked must not hold the writer forever.
WRITE_TIMEOUT_SECONDS = 5.0
# As long as a lookup's reader may take nothing (STALL_MAX_NS).
STALL_SECONDS = 30.0
# The path of a call that no route has.
UNKNOWN_PATH = "unknown"
# Refusals without a key that get a row of their own: anybody can cause them.
REFUSALS_A_SECOND = 10

# Classes of SQLSTATE that say that a row's own values are wrong (PostgreSQL's appendix A); a row without a partition
# (23514) is none of them: its day's table may be made a moment later.
_WRONG_VALUES = ("22", "23")
_NO_PARTITION = "23514"

_ERRORS_FROM = 400
_CACHE_CONTROL = b"cache-control"
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
    address: Address
    weight: int = 1


class CallLog:
    """Rows on their way to the database."""

    def __init__(self, block: ProcessBlock, open_connection: Callable[[], Any], clock: Clock) -> None:
        self._block = block
        self._clock = clock
        self._open = open_connection
        self._rows: deque[Call] = deque()
        self._refusals = Sample(REFUSALS_A_SECOND)

    def add(self, call: Call, is_known: bool = False) -> None:
        """Keep a row; the oldest is lost when there is no room. `is_known`: the caller has a key.

        Of refusals without one there is a sample.
        """
        self._block.count(_REQUESTS[f"{call.status // 100}xx"])
        if call.status >= _ERRORS_FROM and not is_known:
            weight = self._refusals.take(int(call.time.timestamp()))
            if weight == 0:
                return
            call = call._replace(weight=weight)
        if len(self._rows) >= ROWS_WAITING_MAX:
            self._rows.popleft()
            self._block.count(_LOST)
        self._rows.append(call)

    async def write_waiting(self) -> None:
        """Write what waits; a row that is refused for its own sake goes, when its database fails all rows wait on."""
        waiting = batch = len(self._rows)
        if not waiting:
            return
        async with asyncio.timeout(WRITE_TIMEOUT_SECONDS), await self._open() as connection:
            while waiting > 0 and self._rows:
                rows = self._next_of_a_day(min(batch, waiting))
                batch = len(rows)
                try:
                    await _copy(connection, rows)
                except (psycopg.Error, ValueError) as error:
                    if not _is_of_a_row(error):
                        raise
                    has_no_table = getattr(error, "sqlstate", None) == _NO_PARTITION
                    if batch > 1 and not has_no_table:
                        batch //= 2  # the one that is to blame is found in a few steps, the others go through
                        continue
                    self._put_aside(rows, has_no_table)
                else:
                    self._forget_until(rows[-1])
                waiting -= batch
                batch = max(1, waiting)

    def _put_aside(self, rows: list[Call], has_no_table: bool) -> None:
        """What waits for its day's table does so behind all others; what is wrong itself is lost."""
        self._forget_until(rows[-1])
        if has_no_table:
            self._rows.extend(rows)
        else:
            self._block.count(_LOST)

    def _next_of_a_day(self, most: int) -> list[Call]:
        """The first rows, as far as they are of one day, which has a table for all of them or for none."""
        day = self._rows[0].time.date()
        return list(takewhile(lambda row: row.time.date() == day, islice(self._rows, most)))

    def _forget_until(self, last: Call) -> None:
        """Forget the rows up to this one; some were lost meanwhile when there was no room."""
        while self._rows and self._rows[0] is not last:
            self._rows.popleft()
        if self._rows:
            self._rows.popleft()

    async def run(self, log: logging.Logger) -> None:
        """Write once a second until cancelled; what still waits then gets one more try."""
        outage = Outage(log, logging.WARNING, "call log waits for the database", "call log is written")
        try:
            while True:
                await asyncio.sleep(WRITE_SECONDS)
                await self._try(outage)
        finally:
            await self._try(outage)

    async def _try(self, outage: Outage) -> None:
        has_rows = bool(self._rows)
        try:
            await self.write_waiting()
        except (psycopg.Error, TimeoutError) as error:
            outage.down(type(error).__name__, self._clock.monotonic_ns())
        else:
            if has_rows:
                outage.up()
        finally:
            self._block.set_gauge(_WAITING, len(self._rows))


async def _copy(connection: psycopg.AsyncConnection[Any], rows: list[Call]) -> None:
    async with (
        connection.transaction(),
        connection.cursor() as cursor,
        cursor.copy(load("reports.write_calls")) as copy,
    ):
        for row in rows:
            await copy.write_row(row)


def _is_of_a_row(error: Exception) -> bool:
    """Whether other rows may go through: not when it is the connection, the database or the table."""
    state = getattr(error, "sqlstate", None)
    if state is None:
        return isinstance(error, psycopg.DataError | ValueError)  # found wrong before it was sent
    return str(state).startswith(_WRONG_VALUES)


class Sample:
    """The first few of each second; each stands for those before it that were left out as well."""

    def __init__(self, a_second: int) -> None:
        self._a_second = a_second
        self._second = self._taken = self._left_out = 0

    def take(self, second: int) -> int:
        """How many the next one stands for; 0: it is left out."""
        if second != self._second:
            self._second, self._taken = second, 0
        if self._taken >= self._a_second:
            self._left_out += 1
            return 0
        weight = 1 + self._left_out
        self._taken, self._left_out = self._taken + 1, 0
        return weight


class CallAnswer:
    """What went out for one call, noted as it is sent."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.status = 500
        self.sent_bytes = 0
        self._send = send
        self._header = (b"x-request-id", request_id.encode())
        self._is_head = scope.get("method") == "HEAD"
        self._scope = scope
        self._is_replaced = False

    async def send(self, message: Any) -> None:
        """Note a message and pass it on; TimeoutError when nobody takes it."""
        kind = message["type"]
        if self._is_replaced:
            return
        if kind == "http.response.start" and (settle := self._scope["state"].get("settle")) is not None:
            try:
                told = settle(message["status"])
            except ProblemError as refusal:
                await refuse(self._scope, self.send, refusal)
                self._is_replaced = True
                return
            message["headers"] = [*message.get("headers", ()), *_packed(told)]
        if kind in ("http.response.start", "websocket.http.response.start"):
            self.status = message["status"]
            headers = [*message.get("headers", ()), self._header]
            if not any(name.lower() == _CACHE_CONTROL for name, _ in headers):
                headers.append((_CACHE_CONTROL, b"no-store"))
            message["headers"] = headers
        elif kind in ("http.response.body", "websocket.http.response.body"):
            if self._is_head:
                return
            self.sent_bytes += len(message.get("body", b""))
        elif kind == "websocket.accept":
            self.status = 101
        elif kind == "websocket.close" and self.status != 101:
            self.status = 403  # what a connection that was never accepted is told
        elif kind == "websocket.send":
            self.sent_bytes += len((message.get("text") or "").encode()) + len(message.get("bytes") or b"")
        await self._pass_on(message)

    async def end_head(self) -> None:
        """The empty body of an answer to HEAD."""
        if self._is_head:
            await self._pass_on({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pass_on(self, message: Message) -> None:
        async with asyncio.timeout(STALL_SECONDS):
            await self._send(message)


def _packed(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


class AccountedApp:
    """The ASGI application around the router."""

    def __init__(self, app: ASGIApp, calls: CallLog, callers: Callers, clock: Clock, log: logging.Logger) -> None:
        self._app = app
        self._calls = calls
        self._callers = callers
        self._clock = clock
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_ns, started_wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        request_id = uuid.uuid4()
        state: dict[str, Any] = scope.setdefault("state", {})
        state["request_id"] = str(request_id)
        answer = CallAnswer(scope, send, str(request_id))
        address = self._name_caller(scope)
        try:
            if self._callers.is_blocked(address):
                await refuse(scope, answer.send, refusal_of("address_blocked"))
            elif scope.get("method") == "HEAD":
                scope["method"] = "GET"  # type: ignore[typeddict-unknown-key]
                await self._app(scope, _gone, answer.send)
            else:
                await self._app(scope, receive, answer.send)
            await answer.end_head()
        finally:
            for end in state.get("on_end", ()):
                await end()
            if state.get("failure") is not None:
                fields = {"request_id": str(request_id), "path": path_of(scope)}
                self._log.error("call failed", exc_info=state["failure"], extra={"fields": fields})
            caller = state.get("caller")
            connection = state.get("connection")
            self._calls.add(
                Call(
                    datetime.fromtimestamp(started_wall_ns / NS_PER_SECOND, UTC),
                    request_id,
                    (caller.account_id or None) if caller else None,
                    (caller.key_id or None) if caller else None,
                    path_of(scope),
                    answer.status,
                    (self._clock.monotonic_ns() - started_ns) // NS_PER_US,
                    answer.sent_bytes + (connection.written_bytes if connection else 0),
                    address,
                ),
                is_known=caller is not None and caller.kind != "anonymous",
            )

    def _name_caller(self, scope: Scope) -> Address:
        """Put in who calls, and over what, for everything inside."""
        client, headers = scope.get("client"), scope["headers"]
        peer = client[0] if client else ""
        address = self._callers.find(peer, headers)
        scope["client"] = (str(address), client[1] if client else 0)
        scope["scheme"] = self._callers.scheme(peer, headers, scope.get("scheme", "http"))
        return address


async def _gone() -> Any:
    """A client that waits for nothing behind the headers: an endless answer ends with them."""
    return {"type": "http.disconnect"}


def path_of(scope: Scope) -> str:
    """The route's template: what stands in a path itself may be a key, which belongs nowhere."""
    return str(scope.get("path_template") or UNKNOWN_PATH)


def caller_address(scope: Scope) -> Address:
    """Where the call came from, as AccountedApp found it."""
    client = scope.get("client")
    return address_of(client[0] if client else "")
