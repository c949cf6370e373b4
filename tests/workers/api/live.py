"""A reporting service on a real port over prices that the test publishes."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.node_fixture import CATALOG, empty_node
from tests.workers.api.conftest import lookup_of, reporter_of, routes_over, settings_of, tables_of
from tests.workers.request.conftest import answer_of
from trinity.memory.access import AccessMemory
from trinity.memory.block_table import BlockTable
from trinity.memory.key_table import KeyTable
from trinity.memory.node import NodeMemory
from workers.api.app import Features
from workers.api.base.context import Parts
from workers.api.listener import GuardedServer
from workers.api.server import make_server, open_service


@dataclass
class Live:
    """The service, and the hand that moves its prices."""

    memory: NodeMemory
    tables: AccessMemory
    parts: Parts
    features: Features
    draining: asyncio.Event
    port: int
    server: GuardedServer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def publish(self, asset: str, price: str = "71002.5", **fields: int) -> None:
        publish(self.memory, asset, price, **fields)


def publish(memory: NodeMemory, asset: str, price: str = "71002.5", **fields: int) -> None:
    """What the consensus process would write."""
    row = memory.answers.row_of(CATALOG.asset_index(asset))
    memory.answers.write(row, answer_of(asset, price, **fields))


@contextlib.asynccontextmanager
async def live(
    data_dir: Path, keys: KeyTable | None = None, blocks: BlockTable | None = None, **changes: object
) -> AsyncIterator[Live]:
    """A service that anyone may call, with a fresh price of every asset; the event loop is the test's."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = int(holder.getsockname()[1])
    settings = settings_of(data_dir, **({"auth": "optional", "tcp_port": port} | changes))
    with empty_node() as memory:
        for asset in CATALOG.assets:
            publish(memory, asset.name)
        tables = tables_of(keys, blocks)
        given = reporter_of(memory, tables)
        async with open_service(*given, settings, lookup=lookup_of(memory)) as made:
            with routes_over(made) as routes:
                server = make_server(made, routes)
                serving = asyncio.create_task(server.serve())
                try:
                    await _until_up(port)
                    yield Live(memory, tables, made.parts, made.features, made.draining, port, server)
                finally:
                    made.draining.set()
                    server.stop()
                    await asyncio.wait({serving}, timeout=5)


async def _until_up(port: int) -> None:
    async with asyncio.timeout(60), httpx.AsyncClient() as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                await client.get(f"http://127.0.0.1:{port}/openapi/docs.css")
                return
            await asyncio.sleep(0.02)


class Events:
    """A simple reader of server-sent events."""

    def __init__(self, response: httpx.Response) -> None:
        self.last_id = ""
        self._lines = response.aiter_lines()

    async def next(self, seconds: float = 60.0) -> tuple[str, dict[str, Any]]:
        """The next event that has data: (its name, its object)."""
        name, data = "message", ""
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                field, _, value = line.partition(": ")
                if field == "id":
                    self.last_id = value
                elif field == "event":
                    name = value
                elif field == "data":
                    data += value
                elif not line and data:
                    return name, json.loads(data)
        raise EOFError("the stream ended")

    async def take(self, count: int) -> dict[str, dict[str, Any]]:
        """The next `count` events by asset."""
        events = [await self.next() for _ in range(count)]
        return {event["asset"]: event for _, event in events}


@contextlib.contextmanager
def tiny_receive_buffer() -> Iterator[socket.socket]:
    """A socket that takes little from a sender while nobody reads it."""
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        yield slow
