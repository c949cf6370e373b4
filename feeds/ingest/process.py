"""The only WebSocket loop: one exchange, connected, watched, replaced, and backed by REST.

    connection tasks   connection.py   frame -> decoder -> rows -> table; one, or two while one replaces the other
    REST task          rest.py         the rows that want it
    this loop          every 0.2 s: beat, judge the rows, judge the connection, and act

Rules: all decisions about connections are made here, in `_check`, from what the watches say; the tasks only pump.
A replacement is made before break: the old connection goes on until the new one has delivered. A task that raises is
a bug: it ends the process, and the supervisor starts a new one.
"""

import asyncio
import signal
from random import Random
from typing import NamedTuple

import uvloop

from feeds.exchanges.contract import Exchange
from feeds.exchanges.registry import EXCHANGE_MODULES, base_urls_of, ws_url_of
from feeds.ingest.connection import Connection, Ended
from feeds.ingest.counters import FeedCounters
from feeds.ingest.freshness import Evidence
from feeds.ingest.guests import Guests
from feeds.ingest.observers import FrameObserver
from feeds.ingest.rest import RestPump
from feeds.ingest.rows import Rows
from trinity.backoff import Backoff
from trinity.clock import NS_PER_SECOND
from trinity.config import FeedsSection
from trinity.limits import FEED_CHECK_SECONDS, OVERLAP_SECONDS, ROW_REPLACE_CAP_SECONDS, ROW_REPLACE_SECONDS
from trinity.memory.price_table import Absence
from trinity.net.egress import read_proxies
from trinity.process import FeedMemory, ProcessContext

_OVERLAP_NS = int(OVERLAP_SECONDS * NS_PER_SECOND)

# A thin market stops and starts all the time; only what lasts is worth a line of the log.
_STEADY_NS = 2 * NS_PER_SECOND


def run(
    context: ProcessContext,
    memory: FeedMemory,
    config: FeedsSection,
    exchange: str,
    observer: FrameObserver | None = None,
) -> None:
    """Feed one exchange's rows until SIGTERM or SIGINT; then close the sockets and return."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(context, memory, config, exchange, observer))


async def _run(
    context: ProcessContext, memory: FeedMemory, config: FeedsSection, exchange: str, observer: FrameObserver | None
) -> None:
    feed = Feed(context, memory, config, exchange, EXCHANGE_MODULES[exchange], Random(), observer)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, feed.stop)
    await feed.serve()


class _Link(NamedTuple):
    """A connection and the task that pumps it."""

    connection: Connection
    task: asyncio.Task[Ended]


class Feed:
    """One exchange's feed; `serve` runs until `stop`."""

    def __init__(
        self,
        context: ProcessContext,
        memory: FeedMemory,
        config: FeedsSection,
        name: str,
        exchange: Exchange,
        random: Random,
        observer: FrameObserver | None = None,
    ) -> None:
        profile = exchange.PROFILE
        self._context = context
        self._memory = memory
        self._exchange = exchange
        self._observer = observer
        self._ws_url = ws_url_of(name, config)
        _, rest_url = base_urls_of(name, config)
        self._counters = FeedCounters(context.block, context.log, context.clock.monotonic_ns())
        self._rows = Rows(context, memory, name, exchange, self._counters, random)
        self._guests = Guests(self._rows, memory.assets, context.catalog, name, exchange)
        self._guest_gap_ns = int(profile.subscribe_gap_seconds * NS_PER_SECOND)
        self._guests_due_ns = 0
        self._new_guests: list[str] = []
        self._gone_guests: list[str] = []
        self._proxies = read_proxies(config)
        rest_backoff = Backoff(random, profile.rest_gap_seconds, reset_seconds=0)
        self._rest = RestPump(
            context,
            memory.wake_fd,
            exchange,
            rest_url,
            self._rows,
            self._counters,
            rest_backoff,
            observer,
            self._proxies,
        )
        self._backoff = Backoff(random, profile.connect_gap_seconds)
        self._row_backoff = Backoff(
            random, ROW_REPLACE_SECONDS, ROW_REPLACE_SECONDS, ROW_REPLACE_CAP_SECONDS, ROW_REPLACE_CAP_SECONDS
        )
        self._current: _Link | None = None
        self._successor: _Link | None = None
        self._closing: set[asyncio.Task[Ended]] = set()
        self._must_replace = False
        self._serial = 0
        self._logged_flowing = False
        self._flow_steady_ns = 0
        self._stopped = False
        self._wake = asyncio.Event()

    @property
    def connections(self) -> int:
        """How many were opened until now."""
        return self._serial

    def stop(self) -> None:
        """Drain: `serve` closes its sockets and returns."""
        self._stopped = True
        self._wake.set()

    async def serve(self) -> None:
        """Connect, pump, judge and replace until `stop`."""
        fields = {"url": self._ws_url, "rows": len(self._rows.known_symbols()), "simulated": self._context.simulated}
        event = "feed starts against a SIMULATED exchange" if self._context.simulated else "feed starts"
        self._context.log.info(event, extra={"fields": fields})
        rest = asyncio.create_task(self._rest.run())
        try:
            while not self._stopped:
                if rest.done():
                    rest.result()
                self._check()
                await self._sleep()
        finally:
            links = [link.task for link in (self._current, self._successor) if link is not None]
            tasks = [rest, *links, *self._closing]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._observer is not None:
                self._observer.close(self._context.clock.monotonic_ns())
            self._counters.gauge("ws_connected", 0)

    async def _sleep(self) -> None:
        """Until the next check, or until a connection ended or `stop`."""
        self._wake.clear()
        try:
            async with asyncio.timeout(FEED_CHECK_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            pass

    def _check(self) -> None:
        clock = self._context.clock
        now_ns = clock.monotonic_ns()
        self._context.block.beat(now_ns)
        if self._observer is not None:
            self._observer.follow(now_ns)
        self._reap(now_ns)
        self._settle_rows(now_ns)
        self._promote(now_ns)
        watch = self._current.connection.watch if self._current is not None else None
        is_flowing = watch is not None and watch.is_flowing(now_ns)
        is_behind = watch is not None and watch.is_behind
        evidence = self._rows.judge(now_ns, clock.wall_ns(), is_flowing, is_behind)
        self._counters.check(now_ns)
        self._show(now_ns, is_flowing)
        self._mark_for_replacement(now_ns, evidence)
        if is_flowing and not self._must_replace:
            self._backoff.on_good(now_ns)
        else:
            self._backoff.on_stall()
        self._open(now_ns)

    def _reap(self, now_ns: int) -> None:
        """Take note of connections that ended by themselves."""
        for link in (self._current, self._successor):
            if link is None or not link.task.done():
                continue
            ended = link.task.result()
            was_marked = link is self._current and self._must_replace
            if not was_marked:  # one that was marked was counted then
                self._lost(ended.reason, ended.detail, now_ns)
            self._rows.release(link.connection.watch.serial)
            if link is self._successor:
                self._successor = None
            else:
                self._current, self._successor = self._successor, None
                self._must_replace = False

    def _settle_rows(self, now_ns: int) -> None:
        """Ask again for what was left out, name what was passed over, and free the rows of a silent successor."""
        due = self._rows.take_due(now_ns)
        self._follow_guests(now_ns)
        for link in (self._current, self._successor):
            if link is not None:
                watch = link.connection.watch
                if due:
                    link.connection.ask_again(due)
                self._rows.mark_unacknowledged(link.connection.take_unacknowledged(now_ns), watch.serial)
        if self._successor is not None and not self._successor.connection.watch.is_flowing(now_ns):
            self._rows.release(self._successor.connection.watch.serial)

    def _follow_guests(self, now_ns: int) -> None:
        """Subscribe what became hot beyond the catalog and give up what cooled down, both seldom enough for the
        exchange; a connection that is opened meanwhile subscribes them by itself."""
        added, removed = self._guests.follow(now_ns)
        self._new_guests += added
        self._gone_guests += removed
        if now_ns < self._guests_due_ns or not (self._new_guests or self._gone_guests):
            return
        self._guests_due_ns = now_ns + self._guest_gap_ns
        here = frozenset(self._rows.known_symbols(guests=True))
        for link in (self._current, self._successor):
            if link is not None:
                if gone := [symbol for symbol in self._gone_guests if symbol not in here]:
                    link.connection.give_up(gone)
                if new := [symbol for symbol in self._new_guests if symbol in here]:
                    link.connection.ask_again(new)
        self._new_guests, self._gone_guests = [], []

    def _promote(self, now_ns: int) -> None:
        """The successor has delivered: it takes the place of the old connection, which is closed."""
        if self._successor is None:
            return
        watch = self._successor.connection.watch
        if watch.first_quote_ns is None:
            return
        rows = [row for row in self._rows if row.left_out.ws is Absence.NONE and not row.is_guest]
        has_all = all(row.connection_serial == watch.serial for row in rows)
        # One that delivered once and fell silent does not take the place of one that still delivers.
        if has_all or (now_ns - watch.first_quote_ns > _OVERLAP_NS and watch.is_flowing(now_ns)):
            if self._current is not None:
                self._close(self._current)
            self._current, self._successor = self._successor, None
            self._must_replace = False
            self._context.log.info("connection replaced", extra={"fields": {"connection": watch.serial}})

    def _mark_for_replacement(self, now_ns: int, evidence: Evidence) -> None:
        """Decide whether the current connection must be replaced, and whether a successor is worth waiting for."""
        if self._successor is not None:
            verdict = self._successor.connection.watch.verdict(now_ns, evidence._replace(frozen=0, dead=0))
            if verdict is not None:
                self._close(self._successor)
                self._successor = None
                self._lost(*verdict, now_ns)
        if self._current is None or self._must_replace:
            return
        connection = self._current.connection
        asked = connection.replace
        verdict = (asked.reason, asked.detail) if asked is not None else connection.watch.verdict(now_ns, evidence)
        if verdict is None:
            self._row_backoff.on_good(now_ns)
        elif verdict[0] != "frozen" or self._row_backoff.is_due(now_ns):
            if verdict[0] == "frozen":
                self._row_backoff.on_failure(now_ns, ROW_REPLACE_SECONDS)
            self._must_replace = True
            self._lost(*verdict, now_ns)

    def _open(self, now_ns: int) -> None:
        """Start a connection where one is missing and its time has come."""
        if self._successor is not None or not self._backoff.is_due(now_ns):
            return
        if self._current is not None and not self._must_replace:
            return
        self._serial += 1
        self._backoff.on_try(now_ns)
        for row in self._rows:
            row.watch.on_new_connection(now_ns)
        connection = Connection(
            self._context,
            self._memory.wake_fd,
            self._exchange,
            self._ws_url,
            self._rows,
            self._counters,
            self._serial,
            self._observer,
            self._proxies,
        )
        task = asyncio.create_task(connection.run())
        task.add_done_callback(lambda _: self._wake.set())
        link = _Link(connection, task)
        if self._current is None:
            self._current = link
        else:
            self._successor = link

    def _close(self, link: _Link) -> None:
        self._rows.release(link.connection.watch.serial)
        self._closing.add(link.task)
        link.task.add_done_callback(self._closing.discard)
        link.task.cancel()

    def _lost(self, reason: str, detail: str, now_ns: int) -> None:
        """Count a connection that ended or must end, and plan the next."""
        self._backoff.on_failure(now_ns)
        self._counters.reconnect(reason)
        wait_seconds = (self._backoff.due_ns - now_ns) / NS_PER_SECOND
        fields = {"reason": reason, "detail": detail, "next_try_seconds": round(wait_seconds, 1)}
        self._context.log.warning("connection given up", extra={"fields": fields})

    def _show(self, now_ns: int, is_flowing: bool) -> None:
        """Gauges, and a log line when REST took over or handed back for good."""
        is_open = self._current is not None and self._current.connection.is_open
        self._counters.gauge("ws_connected", is_open)
        self._counters.gauge("rest_active", not is_flowing)
        if is_flowing == self._logged_flowing:
            self._flow_steady_ns = now_ns
        elif now_ns - self._flow_steady_ns > _STEADY_NS:
            self._logged_flowing = is_flowing
            self._context.log.info("WebSocket delivers" if is_flowing else "REST stands in for the WebSocket")
