"""Connections of 9090 that bring no request, half of one, or no body: real sockets, the clock of the guard moved."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.workers.api.live import Live, live
from trinity.limits import HEAD_MAX_NS, IDLE_MAX_NS
from trinity.net.guard import ConnectionBounds
from trinity.observe.metrics import REPORTER
from workers.api.base.serving import door

REQUEST = b"GET /account HTTP/1.1\r\nHost: x\r\n\r\n"


async def _silent(service: Live, count: int, host: str = "127.0.0.1", first_bytes: bytes = b"") -> list[socket.socket]:
    """So many connections from an address that say this and no more."""
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        client = socket.socket()
        client.setblocking(False)
        client.bind((host, 0))
        await loop.sock_connect(client, ("127.0.0.1", service.port))
        if first_bytes:
            await loop.sock_sendall(client, first_bytes)
        made.append(client)
    return made


async def _is_shut(client: socket.socket, seconds: float = 60) -> bool:
    """Whether the server ends the connection, in this time."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            while await loop.sock_recv(client, 65536):
                pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


@pytest.mark.parametrize("first_bytes", [b"", b"GET /acc", b"PRI * HTTP/2.0\r\n"])
async def test_a_connection_without_a_request_is_shut_in_time(tmp_path: Path, first_bytes: bytes) -> None:
    """Silent, with half a head, or with half of HTTP/2's preface; one that asked has longer."""
    async with live(tmp_path) as service:
        (client,) = await _silent(service, 1, first_bytes=first_bytes)
        (asking,) = await _silent(service, 1, first_bytes=REQUEST)
        await asyncio.get_running_loop().sock_recv(asking, 65536)
        guard, ports = service.server.guard, {service.port}
        now_ns = service.parts.context.clock.monotonic_ns()
        guard.look(ports, now_ns)
        assert not await _is_shut(client, 0.1)
        guard.look(ports, now_ns + HEAD_MAX_NS)
        assert (await _is_shut(client), await _is_shut(asking, 0.1)) == (True, False)
        guard.look(ports, now_ns + IDLE_MAX_NS)
        assert await _is_shut(asking)
        client.close()
        asking.close()


async def test_one_address_shuts_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More silent connections than granian serves at once: another address is answered, and a stream goes on."""
    monkeypatch.setattr(door, "BOUNDS", ConnectionBounds(most=30, of_address=20))
    monkeypatch.setattr("workers.api.server._CONNECTIONS_MAX", 50)
    async with live(tmp_path) as service:
        loop = asyncio.get_running_loop()
        (stream,) = await _silent(service, 1, "127.0.0.3", b"GET /stream/prices HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await loop.sock_recv(stream, 65536)
        looking = asyncio.create_task(_look_for_ever(service))
        crowd = await _silent(service, 120, "127.0.0.2")
        transport = httpx.AsyncHTTPTransport(local_address="127.0.0.4")
        async with httpx.AsyncClient(transport=transport) as client:
            assert (await client.get(f"{service.url}/openapi.json", timeout=60)).status_code == 200
        async with asyncio.timeout(60):
            while sum(ended := await asyncio.gather(*(_is_shut(client, 0.5) for client in crowd))) < 100:
                pass
        assert sum(ended) < 120
        assert service.parts.context.block.read_gauge(REPORTER.index("report_accept_wait_seconds")) == 0.0
        assert not await _is_shut(stream, 0.3)
        looking.cancel()
        for client in (*crowd, stream):
            client.close()


async def _look_for_ever(service: Live) -> None:
    """As the process's own loop does."""
    while True:
        service.server.look(service.parts.context, service.parts.context.clock.monotonic_ns())
        await asyncio.sleep(0.05)


async def test_how_long_connections_wait_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the guard away a reporter whose places are all taken accepts nobody: the gauge grows, and falls again."""
    monkeypatch.setattr("workers.api.server._CONNECTIONS_MAX", 5)
    monkeypatch.setattr("trinity.net.guard.Guard.look", lambda *_: 0)
    waited = REPORTER.index("report_accept_wait_seconds")
    async with live(tmp_path) as service:
        block, clock = service.parts.context.block, service.parts.context.clock
        crowd = await _silent(service, 10)
        async with asyncio.timeout(60):
            while block.read_gauge(waited) < 0.2:
                service.server.look(service.parts.context, clock.monotonic_ns())
                await asyncio.sleep(0.05)
        for client in crowd:
            client.close()
        async with asyncio.timeout(60):
            while block.read_gauge(waited) > 0:
                service.server.look(service.parts.context, clock.monotonic_ns())
                await asyncio.sleep(0.05)


async def test_a_body_that_does_not_come_is_a_408(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trickled or not: all of it is due, and the place of the call is free again."""
    monkeypatch.setattr(door, "BODY_SECONDS", 0.5)
    head = b"POST /session HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 40\r\n\r\n{"
    async with live(tmp_path) as service:
        loop = asyncio.get_running_loop()
        (client,) = await _silent(service, 1, first_bytes=head)
        answer: Any = None
        async with asyncio.timeout(60):
            waiting = asyncio.create_task(loop.sock_recv(client, 65536))
            while not waiting.done():
                await loop.sock_sendall(client, b" ")
                await asyncio.wait({waiting}, timeout=0.3)
            answer = waiting.result()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "body_timeout"
        client.close()
