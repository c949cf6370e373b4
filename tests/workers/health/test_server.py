"""The health servers over real sockets; the process as a whole is tested with the node."""

import asyncio
import contextlib
import os
import signal
import socket
from pathlib import Path

import aiohttp
import pytest
from aiohttp.test_utils import TestClient, TestServer

from tests.support.clocks import ManualClock
from tests.support.contexts import context_of
from tests.support.node_fixture import NOW_NS, SECOND, busy_node, empty_node, set_process
from trinity.config import Config, NodeSection, PortsSection
from trinity.errors import PortTakenError
from trinity.limits import HEAD_MAX_NS, IDLE_MAX_NS
from trinity.memory.control import HEARTBEAT_NS, NODE_LEAVING
from trinity.memory.node import NodeMemory
from trinity.net.ports import Listener, health_listeners_of
from trinity.process import NodeView, ProcessContext
from trinity.services import SERVICES, ServerType
from trinity.version import version
from workers.health.exposition import node_families, report_families
from workers.health.server import BOUNDS, LOOKUPS, _serve, make_app, sites_of

NODE = NodeSection()
PORTS = PortsSection(tcp_port_lpo=18080, tcp_port_lrs=19090)


def _context(memory: NodeMemory, clock: ManualClock) -> ProcessContext:
    index = [entry.kind for entry in memory.card.processes].index("health")
    return context_of(memory, index, clock)


def _opened(ports: PortsSection, server_type: ServerType = "APP_REPORT_SERVER") -> list[Listener]:
    return health_listeners_of(Config(ports=ports, node=NodeSection(server_type=server_type)))


def _clock(now_ns: int = NOW_NS) -> ManualClock:
    """It stands at the fixture's time."""
    return ManualClock(now_ns, -now_ns)


@pytest.mark.parametrize(
    ("path", "status"), [("/live", 200), ("/ready", 200), ("/health", 200), ("/metrics", 200), ("/", 404)]
)
async def test_a_busy_node_answers_every_route(path: str, status: int, tmp_path: Path) -> None:
    """GET and HEAD, none of it to be cached."""
    with busy_node() as memory:
        async with TestClient(
            TestServer(make_app(_context(memory, _clock()), NodeView(memory), LOOKUPS, tmp_path, PORTS))
        ) as client:
            for method in ("GET", "HEAD"):
                async with client.request(method, path) as response:
                    assert response.status == status
                    assert response.headers["Cache-Control"] == "no-store"
                    assert (await response.read() == b"") == (method == "HEAD")


async def test_the_status_follows_the_memory_at_once(tmp_path: Path) -> None:
    """Ready while a price is fresh, not ready the moment when none is: nothing is cached."""
    with busy_node() as memory:
        clock = _clock()
        async with TestClient(
            TestServer(make_app(_context(memory, clock), NodeView(memory), LOOKUPS, tmp_path, PORTS))
        ) as client:
            assert (await client.get("/ready")).status == 200
            clock.now_ns += 60 * SECOND
            for path in ("/ready", "/health"):
                response = await client.get(path)
                assert response.status == 503
                assert (await response.json())["reasons"][0]["code"] == "no_fresh_asset"
            assert (await client.get("/live")).status == 200, "the process itself lives"


async def test_refusals_are_json_with_a_code(tmp_path: Path) -> None:
    """404 for an unknown path, with where it may be, 405 with Allow for another method."""
    with empty_node() as memory:
        async with TestClient(
            TestServer(make_app(_context(memory, _clock()), NodeView(memory), LOOKUPS, tmp_path, PORTS))
        ) as client:
            response = await client.get("/nothing?x=<script>")
            assert response.status == 404
            assert (await response.json())["error"] == {
                "code": "unknown_path",
                "message": "/nothing is not here: there are /live, /ready, /health, /metrics; "
                "lookups are on port 18080, reports on port 19090",
            }
            response = await client.post("/live", data=b"x")
            assert (response.status, (await response.json())["error"]["code"]) == (405, "method_not_allowed")
            assert response.headers["Allow"] == "GET, HEAD"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


async def test_both_ports_serve_the_loop_beats_and_sigterm_ends_it() -> None:
    """8081 and 9091 give the same health out of one process; ready and metrics are of the service behind each."""
    lpo, lrs = _free_ports(2)
    with busy_node() as memory:
        reporter = [entry.kind for entry in memory.card.processes].index("reporter")
        set_process(memory, reporter, beat_age_ns=60 * SECOND)
        context = _context(memory, _clock())
        context.block.write(HEARTBEAT_NS, 0)
        ports = PortsSection(health_port_lpo=lpo, health_port_lrs=lrs)
        server = asyncio.create_task(_serve(context, NodeView(memory), ports, NODE, _opened(ports), None))
        async with asyncio.timeout(60):
            while context.block.read(HEARTBEAT_NS) == 0:
                await asyncio.sleep(0.01)
            async with aiohttp.ClientSession() as session:
                bodies = []
                for port in (lpo, lrs):
                    async with session.get(f"http://127.0.0.1:{port}/health") as response:
                        bodies.append(await response.json())
                    async with session.get(f"http://127.0.0.1:{port}/ready") as response:
                        assert response.status == (200 if port == lpo else 503)
                texts = [await (await session.get(f"http://127.0.0.1:{port}/metrics")).text() for port in (lpo, lrs)]
            assert bodies[0] == bodies[1]
            assert bodies[0]["version"] == version()
            assert ["trinity_price_fresh" in text for text in texts] == [True, False]
            assert all("trinity_report_requests_total" in text for text in texts)
            os.kill(os.getpid(), signal.SIGTERM)
            await server


async def test_a_node_that_leaves_says_so_and_ends_connections_between_two_questions() -> None:
    """A load balancer that keeps one open to ask every 30 s asks at once, and is told `draining`."""
    lpo, lrs = _free_ports(2)
    with busy_node() as memory:
        context = _context(memory, _clock())
        context.block.write(HEARTBEAT_NS, 0)
        ports = PortsSection(health_port_lpo=lpo, health_port_lrs=lrs)
        server = asyncio.create_task(_serve(context, NodeView(memory), ports, NODE, _opened(ports), None))
        async with asyncio.timeout(60):
            while context.block.read(HEARTBEAT_NS) == 0:
                await asyncio.sleep(0.01)
            reader, writer = await asyncio.open_connection("127.0.0.1", lpo)
            writer.write(b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
            memory.control.write_node_word(NODE_LEAVING, 1)
            await reader.read()  # until its end
            writer.close()
            for port in (lpo, lrs):
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(f"http://127.0.0.1:{port}/ready") as response,
                ):
                    assert response.status == 503
                    assert "draining" in [reason["code"] for reason in (await response.json())["reasons"]]
            os.kill(os.getpid(), signal.SIGTERM)
            await server


def test_the_metrics_of_the_whole_node_are_on_its_first_health_port() -> None:
    """On 8081, and on 9091 of a node that reports alone."""
    families = {
        server_type: [(listener.name, site.families) for listener, site in sites_of(_opened(PORTS, server_type))]
        for server_type in SERVICES
    }
    both = [("HEALTH_PORT_LPO", node_families), ("HEALTH_PORT_LRS", report_families)]
    assert families == {
        "APP_REPORT_SERVER": both,
        "WEBHOOK_SERVER": both[:1],
        "APP_SERVER": both[:1],
        "REPORT_SERVER": [("HEALTH_PORT_LRS", node_families)],
        "ALL": both,
    }


async def test_a_taken_port_is_named() -> None:
    """The error names the variable to change."""
    with empty_node() as memory, socket.create_server(("127.0.0.1", 0)) as holder:
        taken, (free,) = holder.getsockname()[1], _free_ports(1)
        ports = PortsSection(health_port_lpo=free, health_port_lrs=taken)
        with pytest.raises(PortTakenError, match=f"HEALTH_PORT_LRS={taken}"):
            await _serve(_context(memory, _clock()), NodeView(memory), ports, NODE, _opened(ports), None)


@pytest.mark.parametrize("first_bytes", [b"", b"GET /live HTTP/1.1\r\nHost: x\r\n"])
async def test_silent_connections_take_nobody_s_place(first_bytes: bytes) -> None:
    """Hundreds, silent or with half a head: bounded at once, gone in time, and others are answered meanwhile."""
    lpo, lrs = _free_ports(2)
    clock = _clock()
    with busy_node() as memory, contextlib.ExitStack() as held:
        context = _context(memory, clock)
        context.block.write(HEARTBEAT_NS, 0)
        ports = PortsSection(health_port_lpo=lpo, health_port_lrs=lrs)
        node = NodeSection(bind_host="::")
        server = asyncio.create_task(_serve(context, NodeView(memory), ports, node, _opened(ports), None))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            while context.block.read(HEARTBEAT_NS) == 0:
                await asyncio.sleep(0.01)
            clients = []
            for number in range(BOUNDS.of_address + 100):
                client = held.enter_context(socket.socket())
                client.setblocking(False)
                await loop.sock_connect(client, ("127.0.0.1", (lpo, lrs)[number % 2]))
                await loop.sock_sendall(client, first_bytes)
                clients.append(client)
            kept = held.enter_context(socket.socket(socket.AF_INET6))
            kept.setblocking(False)
            await loop.sock_connect(kept, ("::1", lpo))
            await loop.sock_sendall(kept, b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in await loop.sock_recv(kept, 65536)
            while sum(map(_is_open, clients)) > BOUNDS.of_address:
                await asyncio.sleep(0.02)
            assert sum(map(_is_open, clients)) == BOUNDS.of_address
            clock.now_ns += HEAD_MAX_NS
            while any(map(_is_open, clients)):
                await asyncio.sleep(0.02)
            assert _is_open(kept), "it has asked, so it has longer"
            clock.now_ns += IDLE_MAX_NS
            while _is_open(kept):
                await asyncio.sleep(0.02)
            os.kill(os.getpid(), signal.SIGTERM)
            await server


def _is_open(client: socket.socket) -> bool:
    try:
        return bool(client.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return True
    except OSError:
        return False
