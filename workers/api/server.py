"""The life of a reporter process: Granian on TCP, a datagram endpoint on UDP, and the loop that beats.

Rules: several processes share both ports (SO_REUSEPORT). The event loop itself beats, so a blocked loop is seen. After
SIGTERM no connection is accepted, `Service.draining` is set for endless answers, and what is in flight has
`DRAIN_SECONDS`. Who is replaced leaves its sockets to its successor first, and answers each connection once more. The
process runs without a database, too: then reports are refused with a code, and prices go on. None
of its tasks ends by itself: where one does, the process ends with its error, and the supervisor starts it again.
"""

import asyncio
import contextlib
import errno
import logging
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.net import SocketHolder  # type: ignore[attr-defined]
from granian.server.embed import Server
from litestar import Litestar

from trinity.cache.client import CacheClient
from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import BugError, PortTakenError, SchemaError, StoreUnavailableError
from trinity.limits import DRAIN_STAGE_MAX_NS, RETIRE_IDLE_MAX_NS
from trinity.memory.access import AccessMemory
from trinity.memory.control import COMMAND, NODE_STARTED_NS, Command
from trinity.memory.usage_ring import UsageRing
from trinity.net.descriptors import descriptors_of
from trinity.net.guard import Guard, queued
from trinity.net.ports import bind_socket
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
# Pending connections; granian's own default.
_BACKLOG = 1024
# Connections that granian serves at once; with every stream open there is still room for reports.
_CONNECTIONS_MAX = STREAMS.most + SOCKETS.most + 2048
# Descriptors for all else: listeners, the database, the cache, exports, files; some 40 are open without a client.
_FILES_BESIDE = 256
# Bytes of an answer that the kernel keeps beside those on their way: what a slow reader of a stream gets late.
_UNSENT_BYTES_MAX = 16 * 1024
# What granian keeps of a request's head, and of an answer whose reader takes nothing; unsaid it is 400 KB. Two hundred
# ids of Hermes in one request are 15 KB.
_BUFFER_BYTES_MAX = 32 * 1024
# Bytes that nobody acknowledges, or takes, for this long: the kernel gives the connection up.
_UNREAD_MAX_MS = 30_000

# The guard looks through all connections this often, and at each beat while others wait to come in or it is behind.
_LOOK_NS = NS_PER_SECOND
_WAITED = REPORTER.index("report_accept_wait_seconds")

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
        tcp, udp = sockets_of(context.seat, lambda: (_bind_tcp(settings), _bind_udp(settings)))
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


async def _retire(context: ProcessContext, server: "GuardedServer") -> None:
    """Leave whoever comes to the successor, and answer those who are here, each for the last time."""
    server.leave()
    began_ns = now_ns = context.clock.monotonic_ns()
    while now_ns - began_ns < RETIRE_IDLE_MAX_NS and server.look_at_rest(now_ns) > 0:
        context.block.beat(now_ns)
        await asyncio.sleep(BEAT_SECONDS)
        now_ns = context.clock.monotonic_ns()


def _bind_tcp(settings: ReportSettings) -> socket.socket:
    """A port that all reporters share; PortTakenError with its name. Not listening yet."""
    try:
        bound = bind_socket(settings.bind_host, settings.tcp_port, socket.SOCK_STREAM, shared=True)
    except OSError as error:
        raise _bind_error(error, "TCP_PORT_LRS", settings.bind_host, settings.tcp_port) from None
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MAX_MS)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES_MAX)
    return bound


def _bind_udp(settings: ReportSettings) -> socket.socket:
    """The same for datagrams."""
    try:
        return bind_socket(settings.bind_host, settings.udp_port, socket.SOCK_DGRAM, shared=True)
    except OSError as error:
        raise _bind_error(error, "UDP_PORT_LRS", settings.bind_host, settings.udp_port) from None


def _bind_error(error: OSError, name: str, host: str, port: int) -> OSError | PortTakenError:
    """What a failed bind is: a taken port, or a failure of the system, such as no descriptor left."""
    if error.errno == errno.EADDRINUSE:
        return PortTakenError(name, host, port)
    return OSError(error.errno, f"{name}={port} on {host}: {error.strerror}")


def make_server(service: Service, routes: Litestar, listener: socket.socket | None = None) -> "GuardedServer":
    """The HTTP server of an application over these parts, which `serve()` runs; on a bound socket, or its own."""
    parts = service.parts
    guard, clock = make_guard(parts.settings.trusted_proxies), parts.context.clock
    open_files_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    duplicates = Duplicates(duplicates_of(open_files_max), clock)
    app = AccountedApp(routes, parts.calls, parts.callers, clock, parts.context.log)
    guarded = GuardedApp(app, guard, duplicates, clock)
    bound = listener if listener is not None else _bind_tcp(parts.settings)
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


class GuardedServer(Server):
    """Granian with a listening socket of our own making, whose connections inherit its time-out, and with a guard."""

    _shd: Any
    _sfd: Any

    def __init__(
        self, app: GuardedApp, guard: Guard, duplicates: Duplicates, connections: int, bound: socket.socket
    ) -> None:
        self._bound = bound
        host, port = bound.getsockname()[:2]
        self._guarded = app
        super().__init__(
            app,
            address=host,
            port=port,
            interface=Interfaces.ASGINL,
            backlog=_BACKLOG,
            backpressure=connections,
            http1_settings=HTTP1Settings(max_buffer_size=_BUFFER_BYTES_MAX),
            log_enabled=False,
        )
        self.guard = guard
        self._duplicates = duplicates
        self._listener: socket.socket | None = None
        self._look_at_ns = 0
        self._waiting_since_ns = 0

    def look(self, context: ProcessContext, now_ns: int) -> None:
        """Let those go whose time is up, at once where others wait to come in; and say how long they wait."""
        if self._listener is None:
            return
        waiting = queued(self._listener) > 0
        self._waiting_since_ns = (self._waiting_since_ns or now_ns) if waiting else 0
        context.block.set_gauge(_WAITED, (now_ns - self._waiting_since_ns) / NS_PER_SECOND if waiting else 0.0)
        if waiting or self.guard.is_behind or now_ns >= self._look_at_ns:
            self._look_at_ns = now_ns + _LOOK_NS
            self.guard.look({self._listener.getsockname()[1]}, now_ns)

    def leave(self) -> None:
        """Accept nobody any more, while others listen on the same socket; each answer is the last of its connection.

        Granian's own stop would end idle connections at once, and those whose request is on its way with them. So each
        of its descriptors of the listener becomes one that nobody connects to.
        """
        if self._listener is None:
            return
        inode = os.fstat(self._listener.fileno()).st_ino
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as nobody:
            nobody.bind("")  # a name that the kernel makes up (unix(7), autobind)
            nobody.listen()
            own = {self._listener.fileno()}
            for fd in set(descriptors_of(inode)) - own:
                os.dup2(nobody.fileno(), fd, inheritable=False)
        self._guarded.is_leaving = True

    def look_at_rest(self, now_ns: int) -> int:
        """How many connections are left."""
        if self._listener is None:
            return 0
        self.guard.look({self._listener.getsockname()[1]}, now_ns)
        return self.guard.connections

    def stop(self) -> None:
        """Accept nobody any more and end what is idle."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        super().stop()  # type: ignore[no-untyped-call]

    def _init_shared_socket(self) -> None:
        bound = self._bound
        bound.listen(_BACKLOG)
        self._listener = bound.dup()
        self._duplicates.ports = (bound.getsockname()[1],)
        self._shd = SocketHolder(bound.detach(), False, _BACKLOG)  # type: ignore[call-arg]
        self._sfd = self._shd.get_fd()
