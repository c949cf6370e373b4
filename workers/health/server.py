"""The health servers: one process, a port for each service whose health is asked (LPO, LRS), with the same paths.

    GET /live      200 while this process's loop runs
    GET /ready     200 when lookups (LPO) or calls of the reporting service (LRS) may be sent here, else 503 and why
    GET /health    every feed, process and age; 200, or 503 when the node is down
    GET /metrics   Prometheus text: of the whole node (LPO, or the only one), of the reporting service (LRS)

Rules: each answer is read from shared memory when it is asked for. HEAD is answered as GET; another path is a 404,
another method a 405, both as JSON. Connections that bring no request are shut in time, and are bounded
(trinity/net/guard.py): nobody's silence takes the descriptors that the answers need.
The outgoing heartbeat (heartbeat.py) goes on beside them.
"""

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client.metrics_core import Metric

from trinity.clock import NS_PER_SECOND
from trinity.config import NodeSection, PortsSection
from trinity.errors import PortTakenError
from trinity.memory.control import NODE_LEAVING
from trinity.net.guard import ConnectionBounds, Guard
from trinity.net.ports import Listener, bind_socket
from trinity.observe.log import folder_of
from trinity.observe.log_bounds import sweep_logs
from trinity.observe.machine import DiskRoom, read_disk_room
from trinity.observe.reasons import Reading
from trinity.observe.status import Json, read_node, report_health, report_ready, report_reports_ready
from trinity.process import NodeView, ProcessContext
from workers.health.exposition import CONTENT_TYPE, node_families, render_metrics, report_families
from workers.health.heartbeat import LOOK_SECONDS, HeartbeatSettings, OutgoingHeartbeat

BEAT_SECONDS = 0.2
# How often logs are looked for that are over age; also of processes that are no more.
SWEEP_GAP_NS = 3600 * NS_PER_SECOND
# Health answers are made within milliseconds; a drain waits no longer for their readers.
DRAIN_SECONDS = 0.5
# How full a disk is its file system knows at once; a network's may be away.
DISK_SECONDS = 1.0
# A few probes, a Prometheus or two and an operator's browser; several hundred are somebody's mistake, or malice.
BOUNDS = ConnectionBounds(most=256, of_address=128)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HealthSite(NamedTuple):
    """What a health port says of the service whose health it is."""

    ready_report: Callable[[Reading], tuple[bool, Json]]
    families: Callable[[Reading, DiskRoom | None], Iterator[Metric]]


LOOKUPS = HealthSite(report_ready, node_families)
REPORTS = HealthSite(report_reports_ready, report_families)
SITES = {"HEALTH_PORT_LPO": LOOKUPS, "HEALTH_PORT_LRS": REPORTS}


def run(
    context: ProcessContext,
    memory: NodeView,
    ports: PortsSection,
    node: NodeSection,
    opened: Sequence[Listener],
    heartbeat: HeartbeatSettings | None,
) -> None:
    """Serve until SIGTERM on the health listeners that the node opens; raises PortTakenError with the port's name."""
    asyncio.run(_serve(context, memory, ports, node, opened, heartbeat))


def sites_of(opened: Sequence[Listener]) -> list[tuple[Listener, HealthSite]]:
    """What each of them says: the first one has the metrics of the whole node, whosever health it is."""
    sites = [(listener, SITES[listener.name]) for listener in opened]
    return [(sites[0][0], sites[0][1]._replace(families=node_families)), *sites[1:]]


async def _serve(
    context: ProcessContext,
    memory: NodeView,
    ports: PortsSection,
    node: NodeSection,
    opened: Sequence[Listener],
    heartbeat: HeartbeatSettings | None,
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    guard, ports_here = Guard(BOUNDS), {listener.port for listener in opened}
    runners: list[web.AppRunner] = []
    async with contextlib.AsyncExitStack() as ending:
        for (name, port, _, _), service in sites_of(opened):
            app = make_app(context, memory, service, node.data_dir, ports, _seen_by(guard, context))
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=DRAIN_SECONDS)
            await runner.setup()
            runners.append(runner)
            ending.push_async_callback(runner.cleanup)
            try:
                await web.SockSite(runner, bind_socket(node.bind_host, port, socket.SOCK_STREAM)).start()
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise PortTakenError(name, node.bind_host, port) from error
                raise
        beating = await ending.enter_async_context(_beating(context, memory, heartbeat))
        sweep_at_ns, has_told = 0, False
        while not stop.is_set():
            if not has_told and memory.node.control.read_node_word(NODE_LEAVING):
                has_told = True
                _shut_all(runners)
            if context.clock.monotonic_ns() >= sweep_at_ns:
                sweep_at_ns = context.clock.monotonic_ns() + SWEEP_GAP_NS
                await asyncio.to_thread(sweep_logs, folder_of(node.data_dir), context.clock.wall_ns() / NS_PER_SECOND)
            if beating is not None and beating.done():
                beating.result()  # a fault of ours: the supervisor starts the process again
            now_ns = context.clock.monotonic_ns()
            context.block.beat(now_ns)
            guard.look(ports_here, now_ns)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BEAT_SECONDS)


def _shut_all(runners: Sequence[web.AppRunner]) -> None:
    """Who keeps a connection to ask now and then comes again at once, and hears of it; answers take milliseconds."""
    for runner in runners:
        if runner.server is not None:
            for connection in runner.server.connections:
                connection.force_close()


@contextlib.asynccontextmanager
async def _beating(
    context: ProcessContext, memory: NodeView, settings: HeartbeatSettings | None
) -> AsyncIterator["asyncio.Task[None] | None"]:
    """The heartbeat beside the servers: a monitor that hangs keeps nobody waiting here."""
    if settings is None:
        yield None
        return

    async def beat(session: aiohttp.ClientSession) -> None:
        heartbeat = OutgoingHeartbeat(settings, session, context.clock, context.block, context.log)
        while True:
            await heartbeat.turn(lambda: read_node(memory.node, context.clock.monotonic_ns(), memory.rings))
            await asyncio.sleep(LOOK_SECONDS)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        task = asyncio.create_task(beat(session))
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _seen_by(guard: Guard, context: ProcessContext) -> Middleware:
    """Tells the guard of each request."""

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        peer = request.get_extra_info("peername")
        if peer is None:  # it is gone
            return await handler(request)
        with guard.call(peer[:2], context.clock.monotonic_ns):
            return await handler(request)

    return watch


def make_app(
    context: ProcessContext,
    memory: NodeView,
    service: HealthSite,
    data_dir: Path,
    ports: PortsSection,
    *around: Middleware,
) -> web.Application:
    """The routes over one node's shared memory; /ready and /metrics are of the service whose health this is."""
    card = memory.node.card

    def read() -> Reading:
        return read_node(memory.node, context.clock.monotonic_ns(), memory.rings)

    async def live(_request: web.Request) -> web.Response:
        return _json(200, {"live": True, "node": card.node, "simulated": card.simulated})

    async def ready(_request: web.Request) -> web.Response:
        is_ready, body = service.ready_report(read())
        return _json(200 if is_ready else 503, body)

    async def health(_request: web.Request) -> web.Response:
        is_up, body = report_health(read())
        return _json(200 if is_up else 503, body)

    async def metrics(_request: web.Request) -> web.Response:
        text = render_metrics(service.families(read(), await _disk_of(data_dir)))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})

    routes = {"/live": live, "/ready": ready, "/health": health, "/metrics": metrics}
    app = web.Application(middlewares=[*around, _refusing_as_json(", ".join(routes), ports)])
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])
    return app


async def _disk_of(data_dir: Path) -> DiskRoom | None:
    """None where the disk does not answer in time: the other metrics are not to wait for it, nor is the heartbeat."""
    try:
        return await asyncio.wait_for(asyncio.to_thread(read_disk_room, data_dir), DISK_SECONDS)
    except TimeoutError:
        return None


def _refusing_as_json(paths: str, ports: PortsSection) -> Middleware:
    """Says what there is instead, here and on the other ports."""
    there_are = f"there are {paths}; lookups are on port {ports.tcp_port_lpo}, reports on port {ports.tcp_port_lrs}"

    @web.middleware
    async def refuse_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPNotFound:
            return _refusal(404, "unknown_path", f"{request.path} is not here: {there_are}")
        except web.HTTPMethodNotAllowed as error:
            response = _refusal(405, "method_not_allowed", f"{request.method} is not possible here: use GET")
            response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
            return response

    return refuse_as_json


def _refusal(status: int, code: str, message: str) -> web.Response:
    return _json(status, {"error": {"code": code, "message": message}})


def _json(status: int, body: Json) -> web.Response:
    return web.Response(
        status=status,
        body=msgspec.json.encode(body),
        headers={"Content-Type": "application/json", "Cache-Control": "no-store"},
    )
