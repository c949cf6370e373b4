"""A reporting service without a node around it: the memory of a node that does well, and the real application."""

import contextlib
import hashlib
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest
from litestar.types import ASGIApp

from benchmarks.usage_rows import fill
from tests.database import DatabaseServer
from tests.trinity.node_fixture import CATALOG, ENTRIES, busy_node
from trinity.clock import SystemClock
from trinity.memory.block_table import BlockTable
from trinity.memory.key_table import KeyTable
from trinity.memory.limit_table import LimitTable
from trinity.memory.node import NodeMemory
from trinity.process import Seat
from trinity.vocabulary import KeyState
from workers.api.app import make_app
from workers.api.base.calls import AccountedApp
from workers.api.base.context import Parts, ReportSettings
from workers.api.server import open_parts

KEYS = 16  # more than any of the databases here has
ADMIN_KEY = "the-operator-s-own-key"
NO_DATABASE = "postgresql:///none?host=/nonexistent"


def seat_of(memory: NodeMemory, keys: KeyTable | None = None, blocks: BlockTable | None = None) -> Seat:
    """The seat of the health process, which counts nothing itself; without tables of a node unless they are given."""
    index = [entry.kind for entry in ENTRIES].index("health")
    return Seat(
        name="reporter-0", kind="reporter", index=index, catalog=CATALOG, clock=SystemClock(), prices=memory.prices,
        answers=memory.answers, control=memory.control, block=memory.control.block(index), wake_fd=-1, control_fd=-1,
        simulated=memory.card.simulated, log=logging.getLogger("trinity.reporter"),
        keys=keys or unlimited_keys(), limits=LimitTable.private(KEYS), blocks=blocks or BlockTable.private(),
    )  # fmt: skip


def unlimited_keys() -> KeyTable:
    """Keys 1 to KEYS without limits; not said to be all, so that the database is still asked for others."""
    table = KeyTable.private(KEYS)
    for key_id in range(1, KEYS + 1):
        table.write(key_id, hashlib.sha256(b"key-%d" % key_id).digest(), KeyState.ACTIVE, 0, 0, 0, dry_run=False)
    return table


def table_of(*keys: str) -> KeyTable:
    """A node's table with these keys, of ids from 1 on."""
    table = KeyTable.private(KEYS)
    for key_id, key in enumerate(keys, start=1):
        table.write(key_id, hashlib.sha256(key.encode()).digest(), KeyState.ACTIVE, 0, 0, 0, dry_run=False)
    table.mark_loaded()
    return table


def settings_of(data_dir: Path, **changes: object) -> ReportSettings:
    """Settings of a test: keys are required, the operator has one, there is no database."""
    settings = ReportSettings(
        bind_host="127.0.0.1", tcp_port=0, udp_port=0, data_dir=data_dir, auth="required", admin_key=ADMIN_KEY,
        database_url=NO_DATABASE, cache_url=None,
    )  # fmt: skip
    return settings._replace(**changes)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def service(
    settings: ReportSettings, keys: KeyTable | None = None, blocks: BlockTable | None = None
) -> AsyncIterator[tuple[Parts, ASGIApp]]:
    """The parts and the whole application of a process with these settings."""
    with busy_node() as memory:
        async with open_parts(seat_of(memory, keys, blocks), memory.card, settings, None) as parts:
            yield parts, AccountedApp(make_app(parts), parts.calls, parts.callers, parts.seat.clock, parts.seat.log)


@contextlib.asynccontextmanager
async def client_of(settings: ReportSettings) -> AsyncIterator[httpx.AsyncClient]:
    """A client that calls the application directly."""
    async with service(settings) as (_, app), client_to(app) as client:
        yield client


def client_to(app: ASGIApp) -> httpx.AsyncClient:
    """A client of this application."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://reports")


@pytest.fixture
async def optional_client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A service that also answers who has no key."""
    async with client_of(settings_of(tmp_path, auth="optional")) as client:
        yield client


# The days of a changed clock: 29 March 2026 has 23 hours in Berlin.
USAGE_END = datetime(2026, 3, 31, tzinfo=UTC)
USAGE_DAYS = 4
USAGE_KEYS = 6


@pytest.fixture(scope="session")
def usage_url(database_server: DatabaseServer) -> str:
    """A database with some 20,000 requests of six keys, `key-1` to `key-6`, each of an account of its own."""
    with psycopg.connect(database_server.url(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE usage TEMPLATE migrated")
    url = database_server.url("usage")
    with psycopg.connect(url) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.execute("SELECT setseed(0.5)")
        for _ in fill(connection, 20_000, USAGE_DAYS, USAGE_KEYS, USAGE_END):
            pass
        connection.execute("CREATE TABLE report_calls PARTITION OF report_usage_log DEFAULT")
    return url


@pytest.fixture
async def usage_client(usage_url: str, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the operator's key, of a service over that database."""
    async with client_of(settings_of(tmp_path, database_url=usage_url)) as client:
        client.headers["X-API-Key"] = ADMIN_KEY
        yield client
