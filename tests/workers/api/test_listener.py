"""workers/api/listener.py; ports that are taken: test_server.py."""

import asyncio
import http
import socket
from pathlib import Path

import httpx

from tests.support.patience import PATIENCE
from tests.workers.api.live import live


async def test_who_leaves_a_listener_answers_its_connections_for_the_last_time(tmp_path: Path) -> None:
    """A connection that is open gets its answer, with `Connection: close`; a new one waits for who listens now."""
    async with live(tmp_path) as service, httpx.AsyncClient(base_url=service.url) as client:
        first = await client.get("/openapi/docs.css")
        assert first.headers.get("connection") != "close"
        service.server.leave()
        second = await client.get("/openapi/docs.css")
        assert (second.status_code, second.headers["connection"]) == (http.HTTPStatus.OK, "close")
        with socket.create_connection(("127.0.0.1", service.port)) as waiting:
            waiting.sendall(b"GET /openapi/docs.css HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            waiting.setblocking(False)
            async with asyncio.timeout(60 * PATIENCE):
                while service.server.look_at_rest(1) != 0:
                    await asyncio.sleep(0.02)
            try:
                early = waiting.recv(1)
            except BlockingIOError:
                early = None
            assert early is None, "nobody accepted it here"
