"""The life of a reporter process: Granian on TCP, a datagram endpoint on UDP, and the loop that beats.

Rules: several processes share both ports (SO_REUSEPORT). The event loop itself beats, so a blocked loop is seen. After
SIGTERM no connection is accepted, `Service.draining` is set for endless answers, and what is in flight has
`DRAIN_SECONDS`. Who is replaced leaves its sockets to its successor first, and answers each connection once more. The
process runs without a database, too: then reports are refused with a code, and prices go on. None
of its tasks ends by itself: where one does, the process ends with its error, and the supervisor starts it again.
"""

import asyncio
import contextlib
import logging
import resource
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from litestar import Litestar

from trinity.cache.client import CacheClient
from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import BugError, SchemaError, StoreUnavailableError
from trinity.limits import DRAIN_STAGE_MAX_NS, RETIRE_IDLE_MAX_NS
from trinity.memory.access import AccessMemory
from trinity.memory.control import COMMAND, NODE_STARTED_NS, Command
from trinity.memory.usage_ring import UsageRing
from trinity.net.seat import sockets_of
from trinity.observe.cache_meter import CacheMeter
from trinity.observe.log import Outage
from trinity.observe.metrics import REPORTER
from trinity.process import NodeView, ProcessContext
from trinity.push.addresses import AllowList
from trinity.store import migrate
from trinity.store.connect import bounded
from trinity.store.watch import Watch
from workers.api.accounts.ended import FILE_NAME, EndedSessions
from workers.api.accounts.session import Sessions
from workers.api.accounts.signin import Accounts
from workers.api.administration.administrator import CHANGES_AT_ONCE, Administration
from workers.api.app import Features, make_app
from workers.api.base.callers.admission import make_admission
from workers.api.base.callers.concurrency import ConcurrencyLimit
from workers.api.base.callers.forwarded import Callers
from workers.api.base.callers.keys import Keys
from workers.api.base.callers.logins import Logins
from workers.api.base.callers.throttle import LoginThrottle
from workers.api.base.calls import AccountedApp, CallLog
from workers.api.base.context import Explain, Parts, ReportSettings
from workers.api.base.prices import Prices
from workers.api.base.serving.cache import Cache
from workers.api.base.serving.direct import Duplicates
from workers.api.base.serving.door import BOUNDS, GuardedApp, make_guard
from workers.api.base.serving.pool import POOL_CONNECTIONS_MAX, make_pool
from workers.api.dashboard.machine import MachineFigures
from workers.api.dashboard.node_state import Dashboard
from workers.api.history.averages import Averages
from workers.api.history.history import History
from workers.api.history.past import PastPrices
from workers.api.listener import GuardedServer, bind_tcp, bind_udp
from workers.api.lookups.lookups import Lookup, Lookups
from workers.api.pushes.customer import Pushes
from workers.api.streams.board import PriceBoard
from workers.api.streams.events import STREAMS, Streams
from workers.api.streams.fanout import Fanout
from workers.api.streams.rows import RowBoard
from workers.api.streams.sockets import SOCKETS
from workers.api.usage.datagram import ReportDatagrams
from workers.api.usage.export import EXPORTS, Usage

BEAT_SECONDS = 0.2
# Less than the supervisor's DRAIN_STAGE_MAX_NS.
DRAIN_SECONDS = 1.2
# A report is an index scan of milliseconds: whatever takes longer than this holds others up.
STATEMENT_SECONDS = 20.0
# Whether the tables are those of this version is asked so often, and whether the database answers is said.
CHECK_NS = 5 * NS_PER_SECOND
WATCH_SECONDS = 0.5
# Connections that granian serves at once; with every stream open there is still room for reports.
_CONNECTIONS_MAX = STREAMS.most + SOCKETS.most + 2048
# Descriptors for all else: listeners, the database, the cache, exports, files; some 40 are open without a client.
_FILES_BESIDE = 256


assert STREAMS.most + SOCKETS.most + BOUNDS.most < _CONNECTIONS_MAX
assert EXPORTS.most < POOL_CONNECTIONS_MAX
assert DRAIN_SECONDS * 1_000_000_000 < DRAIN_STAGE_MAX_NS


@dataclass(frozen=True)
class Service:
    """What a process serves."""

    parts: Parts
    features: Features
    draining: asyncio.Event  # set by SIGTERM: an endless answer ends now
    tasks: frozenset[asyncio.Task[None]]  # what runs behind all this; none of them ever ends by itself


def run(
    context: ProcessContext,
    memory: NodeView,
    tables: AccessMemory,
    ring: UsageRing,
    settings: ReportSettings,
    explain: Explain | None = None,
    lookup: Lookup | None = None,
) -> None:
    """Serve until SIGTERM; raises PortTakenError with the port's name. `ring` is of its own usage records."""
    asyncio.run(_serve(context, open_service(context, memory, tables, ring, settings, explain, lookup)))


async def _serve(context: ProcessContext, opening: AbstractAsyncContextManager[Service]) -> None:
    stop = asyncio.Event()
    async with _stopped_by_signals(stop), opening as service:
        settings = service.parts.settings
        tcp, udp = sockets_of(context.seat, lambda: (bind_tcp(settings), bind_udp(settings)))
        server = make_server(service, make_app(service.parts, service.features), tcp)
        serving = asyncio.create_task(server.serve())
        datagrams = ReportDatagrams(service.parts, udp)
        ended: set[asyncio.Task[None]] = set()
        while not stop.is_set() and not serving.done() and not ended:
            now_ns = context.clock.monotonic_ns()
            context.block.beat(now_ns)
            server.look(context, now_ns)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BEAT_SECONDS)
            ended = {task for task in service.tasks if task.done()}
        service.draining.set()
        if context.block.read(COMMAND) == Command.RETIRE and not ended:
            datagrams.pause()
            await _retire(context, server)
        datagrams.close()
        server.stop()
        await asyncio.wait({serving}, timeout=DRAIN_SECONDS)
        for task in (*ended, *({serving} if serving.done() else ())):
            task.result()
        if ended:
            raise BugError(f"a task ended by itself: {', '.join(task.get_name() for task in ended)}")


@contextlib.asynccontextmanager
async def _stopped_by_signals(stop: asyncio.Event) -> AsyncIterator[None]:
    """Set `stop` at SIGTERM or SIGINT, also when a thousand connections end at the same moment.

    asyncio's own handlers learn of a signal by a byte in the pipe that wakes the loop; when that is full of the
    server's wake-ups, the signal is lost.
    """
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextlib.asynccontextmanager
async def open_service(
    context: ProcessContext,
    memory: NodeView,
    tables: AccessMemory,
    ring: UsageRing,
    settings: ReportSettings,
    explain: Explain | None = None,
    lookup: Lookup | None = None,
) -> AsyncIterator[Service]:
    """What the process serves, with the tasks behind it; the database need not be there."""
    logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # its warnings repeat the address; we have a metric
    url = bounded(settings.database_url, context.name, STATEMENT_SECONDS)
    watch = Watch(settings.database_url)
    pool = make_pool(url, watch, context.clock)
    watch.start()
    await pool.open(wait=False)
    calls = CallLog(context.block, lambda: _connect_guarded(url, watch), context.clock)
    meter = CacheMeter(context.block, REPORTER, context.log, context.clock)
    valkey = None if settings.cache is None else CacheClient.open(settings.cache, context.clock, meter)
    cache = Cache(valkey, context.clock, context.block)
    draining, started_ns = asyncio.Event(), context.control.read_node_word(NODE_STARTED_NS)
    prices, averages = Prices(context.catalog, memory.node.answers), Averages(pool)
    boards = _Boards.of(prices, context.clock, started_ns)
    endless = {
        "calls": calls.run(context.log),
        **boards.endless(draining),
        "averages": averages.run(context.clock),
        "database": _watch_database(context, settings.database_url, watch),
    }
    tasks = frozenset(asyncio.create_task(run, name=name) for name, run in endless.items())
    try:
        parts = Parts(
            context=context,
            settings=settings,
            pool=pool,
            prices=prices,
            keys=Keys(pool, context.clock, tables.keys),
            logins=Logins(pool, context.clock),
            callers=Callers(settings.trusted_proxies, tables.blocks),
            admission=make_admission(context, tables, ring.words, settings.access),
            calls=calls,
            cache=cache,
            valkey=valkey,
            login_throttle=LoginThrottle(),
        )
        features = Features(
            Accounts(Sessions(settings.admin_key), EndedSessions(settings.data_dir / FILE_NAME)),
            Administration(tables.keys.keys_max, asyncio.Semaphore(CHANGES_AT_ONCE)),
            Dashboard(memory.node, memory.rings, MachineFigures(context.clock, settings.data_dir, pool)),
            History(averages, PastPrices(pool, context.clock), explain),
            Lookups(lookup),
            Pushes(AllowList.parse(settings.allowed_targets), settings.name_servers),
            boards.streams(),
            boards.rows,
            Usage(ConcurrencyLimit(EXPORTS)),
        )
        yield Service(parts, features, draining, tasks)
    finally:
        watch.stop()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1)
        if valkey is not None:
            await valkey.close()
        await pool.close(timeout=1)


class _Boards(NamedTuple):
    """What streams are made of: prices and rows as they change, and who hands each change to all that read."""

    prices: PriceBoard
    rows: RowBoard
    fanout: Fanout
    row_fanout: Fanout

    @classmethod
    def of(cls, prices: Prices, clock: Clock, started_ns: int) -> "_Boards":
        board = PriceBoard(prices, clock, started_ns)
        rows = RowBoard(board, clock, started_ns)
        return cls(board, rows, Fanout(board, clock), Fanout(rows, clock))

    def endless(self, draining: asyncio.Event) -> dict[str, Coroutine[Any, Any, None]]:
        """What moves them on, by name."""
        return {
            "board": self.prices.run(draining),
            "fanout": self.fanout.run(),
            "rows": self.rows.run(draining),
            "row fanout": self.row_fanout.run(),
        }

    def streams(self) -> Streams:
        """The streams over them, none open yet."""
        limits = ConcurrencyLimit(STREAMS), ConcurrencyLimit(SOCKETS)
        return Streams(self.prices, self.fanout, self.row_fanout, *limits)


async def _connect_guarded(url: str, watch: Watch) -> psycopg.AsyncConnection[Any]:
    connection = await psycopg.AsyncConnection.connect(url)
    watch.guard(connection)
    return connection


async def _watch_database(context: ProcessContext, url: str, watch: Watch) -> None:
    """Say whether there is a database whose tables fit this version; the operator process makes them."""
    up = REPORTER.index("report_database_up")
    outage = Outage(context.log, logging.WARNING, "reports without the database", "reports have the database")
    ready, asked_at_ns = False, -CHECK_NS
    while True:
        now_ns = context.clock.monotonic_ns()
        if now_ns - asked_at_ns >= CHECK_NS:
            asked_at_ns = now_ns
            try:
                await asyncio.to_thread(migrate.check, url)
                ready = True
                outage.up()
            except StoreUnavailableError as error:
                ready = False
                outage.down(str(error), now_ns)
            except SchemaError as error:
                ready = False
                outage.fault(str(error))
        context.block.set_gauge(up, float(ready and watch.is_up))
        await asyncio.sleep(WATCH_SECONDS)


async def _retire(context: ProcessContext, server: GuardedServer) -> None:
    """Leave whoever comes to the successor, and answer those who are here, each for the last time."""
    server.leave()
    began_ns = now_ns = context.clock.monotonic_ns()
    while now_ns - began_ns < RETIRE_IDLE_MAX_NS and server.look_at_rest(now_ns) > 0:
        context.block.beat(now_ns)
        await asyncio.sleep(BEAT_SECONDS)
        now_ns = context.clock.monotonic_ns()


def make_server(service: Service, routes: Litestar, listener: socket.socket | None = None) -> GuardedServer:
    """The HTTP server of an application over these parts, which `serve()` runs; on a bound socket, or its own."""
    parts = service.parts
    guard, clock = make_guard(parts.settings.trusted_proxies), parts.context.clock
    open_files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    duplicates = Duplicates(duplicates_of(open_files_max), clock)
    app = AccountedApp(routes, parts.calls, parts.callers, clock, parts.context.log)
    guarded = GuardedApp(app, guard, duplicates, clock)
    bound = listener if listener is not None else bind_tcp(parts.settings)
    return GuardedServer(guarded, guard, duplicates, connections_of(open_files_max), bound)


def connections_of(open_files_max: int) -> int:
    """Connections that granian may serve at once: as many as there is room for, or as the descriptors leave."""
    if open_files_max == resource.RLIM_INFINITY:
        return _CONNECTIONS_MAX
    return max(1, min(_CONNECTIONS_MAX, open_files_max - _FILES_BESIDE))


def duplicates_of(open_files_max: int) -> int:
    """Descriptors that are left for streams to be written past granian: one each beside granian's own."""
    if open_files_max == resource.RLIM_INFINITY:
        return STREAMS.most
    return max(0, min(STREAMS.most, open_files_max - _FILES_BESIDE - connections_of(open_files_max)))
