"""REST while the WebSocket cannot be trusted: one request at a time, paced, the most urgent row first.

Rules: it asks only for rows that want REST (`FeedRow.wants_rest`, set by the watch); a row is due again after a fifth
of its age limit, counted from the asking, so a row that never answers does not starve the others. The exchange's
published gap lies between any two requests. A failure, a refusal and a 429 back off, honouring Retry-After.
"""

import asyncio
import os
from collections.abc import Iterable

import aiohttp

from feeds.exchanges.contract import Exchange, Quote, Refusal, RestRequest, UnknownSymbol
from feeds.exchanges.fields import HTTP_OK
from feeds.ingest.counters import FeedCounters, RestResult
from feeds.ingest.observers import FrameObserver
from feeds.ingest.rows import FeedRow, Rows
from trinity.backoff import Backoff
from trinity.clock import NS_PER_SECOND
from trinity.limits import REST_ASKS_PER_MAX_AGE, REST_BODY_BYTES_MAX, REST_TIMEOUT_SECONDS, RETRY_AFTER_SECONDS_MAX
from trinity.memory.price_table import Via
from trinity.net.egress import NO_PROXIES, REDIRECTS, Failure, Proxies, answer_failure, failure_of
from trinity.process import ProcessContext

# How often an idle pump looks whether a row became due; the check that decides runs every 0.2 s.
IDLE_SECONDS = 0.1
# A 429 without Retry-After: stay away for a second at least, the shortest window among the six exchanges' limits.
RATE_LIMITED_SECONDS = 1.0


class RestPump:
    """Fetches the rows that want it, forever."""

    def __init__(
        self,
        context: ProcessContext,
        wake_fd: int,
        exchange: Exchange,
        base_url: str,
        rows: Rows,
        counters: FeedCounters,
        backoff: Backoff,
        observer: FrameObserver | None = None,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._context = context
        self._wake_fd = wake_fd
        self._exchange = exchange
        self._base_url = base_url
        self._rows = rows
        self._counters = counters
        self._backoff = backoff
        self._observer = observer
        self._proxy = proxies.of(base_url)
        self._told_kind = ""
        self._asks_alone = 0

    async def run(self) -> None:
        """Ask and write until cancelled."""
        profile = self._exchange.PROFILE
        timeout = aiohttp.ClientTimeout(total=REST_TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(headers=profile.headers, timeout=timeout) as session:
            while True:
                request = self._due_request()
                if request is None:
                    await asyncio.sleep(IDLE_SECONDS)
                    continue
                # The resolver asks the same service: a turn is each other's.
                turn_ns = self._rows.rest_turns.take(self._context.clock.monotonic_ns())
                await asyncio.sleep(turn_ns / NS_PER_SECOND)
                started_ns = self._context.clock.monotonic_ns()
                await self._ask(session, request, started_ns)
                spent_seconds = (self._context.clock.monotonic_ns() - started_ns) / NS_PER_SECOND
                await asyncio.sleep(max(profile.rest_gap_seconds - spent_seconds, 0))

    def _due_request(self) -> RestRequest | None:
        now_ns = self._context.clock.monotonic_ns()
        if not self._backoff.is_due(now_ns):
            return None
        due = due_rows((row for row in self._rows if row.is_on_rest(now_ns)), now_ns)
        if not due:
            return None
        if self._asks_alone:
            self._asks_alone -= 1
            due = due[:1]
        requests = self._exchange.rest_requests([row.symbol for row in due])
        request = next(request for request in requests if due[0].symbol in request.symbols)
        for symbol in request.symbols:
            row = self._rows.get(symbol)
            if row is not None:
                row.asked_at_ns = now_ns
        return request

    async def _ask(self, session: aiohttp.ClientSession, request: RestRequest, asked_at_ns: int) -> None:
        try:
            url = self._base_url + request.path
            async with session.get(url, proxy=self._proxy, allow_redirects=False) as response:
                body = await read_bounded(response)
                status = response.status
                retry_after_seconds = retry_after_of(response)
                location = response.headers.get("Location", "")
        except Exception as error:  # noqa: BLE001 - whatever a library raises ends this question and no more
            self._on_failure(failure_of(error))
            self._on_result("failed")
            return
        if status != HTTP_OK:
            self._on_failure(answer_failure(status, location, body or b""))
        if body is None:
            self._counters.refusal("too_large", f"{request.path}: more than {REST_BODY_BYTES_MAX} bytes")
            self._on_result("refused")
        elif status == 429:
            self._on_result("rate_limited", max(retry_after_seconds, RATE_LIMITED_SECONDS))
        elif status >= 500 or status in REDIRECTS:
            self._on_result("failed", retry_after_seconds)
        else:
            has_answer = self._take(request, status, body, asked_at_ns)
            if not has_answer and len(request.symbols) > 1:
                self._asks_alone = len(request.symbols)  # one unknown symbol may refuse all: find it
            self._on_result("ok" if has_answer else "refused", retry_after_seconds)

    def _take(self, request: RestRequest, status: int, body: bytes, asked_at_ns: int) -> bool:
        """Write what an answer says; True when it says anything of a symbol."""
        at_ns, wall_ns = self._context.clock.monotonic_ns(), self._context.clock.wall_ns()
        if self._observer is not None and self._observer.is_on:
            self._observer.answer(request, status, body, at_ns, wall_ns)
        has_answer = is_written = False
        for event in self._exchange.on_rest(request, status, body):
            match event:
                case Quote():
                    has_answer = True
                    is_written |= self._rows.take_rest(event, at_ns, wall_ns, asked_at_ns)
                case UnknownSymbol(symbol):
                    has_answer |= self._rows.mark_not_on_rest(symbol)
                case Refusal(reason, detail):
                    self._counters.refusal(reason, detail, Via.REST)
        if is_written:
            os.eventfd_write(self._wake_fd, 1)
        return has_answer

    def _on_failure(self, failure: Failure) -> None:
        """Count it; the log has a line when it is another kind than before."""
        self._counters.failure("rest", failure.kind)
        if failure.kind != self._told_kind:
            self._told_kind = failure.kind
            fields = {"url": self._base_url, "kind": failure.kind, "detail": failure.words}
            self._context.log.warning("REST brings nothing", extra={"fields": fields})

    def _on_result(self, result: RestResult, at_least_seconds: float = 0.0) -> None:
        self._counters.rest(result)
        now_ns = self._context.clock.monotonic_ns()
        if result == "ok":
            if self._told_kind:
                self._told_kind = ""
                self._context.log.info("REST answers again", extra={"fields": {"url": self._base_url}})
            self._backoff.on_good(now_ns)
        else:
            self._backoff.on_failure(now_ns, at_least_seconds)


def due_rows(rows: Iterable[FeedRow], now_ns: int) -> list[FeedRow]:
    """Rows to ask for now, the most urgent first; those that are half-way due go along, where one GET serves many."""
    waits = [
        ((now_ns - row.asked_at_ns) * REST_ASKS_PER_MAX_AGE / row.max_age_ns, row) for row in rows if row.wants_rest
    ]
    waits.sort(key=lambda wait: -wait[0])
    if not waits or waits[0][0] < 1:
        return []
    return [row for periods, row in waits if periods >= 1 / 2]


async def read_bounded(response: aiohttp.ClientResponse) -> bytes | None:
    """The body, None when it is longer than we accept."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > REST_BODY_BYTES_MAX:
            return None
    return bytes(body)


def retry_after_of(response: aiohttp.ClientResponse) -> float:
    """Retry-After in seconds (RFC 9110 10.2.3), 0 when it is absent or a date."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), RETRY_AFTER_SECONDS_MAX) if text.isascii() and text.isdigit() else 0.0
