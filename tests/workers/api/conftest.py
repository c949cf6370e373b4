"""A reporting service without a node around it: the memory of a node that does well, and the real application."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg
import pytest
from litestar import Litestar
from litestar.types import ASGIApp

from benchmarks.servers.usage_rows import fill
from tests.support.contexts import context_of
from tests.support.database import DatabaseServer
from tests.support.node_fixture import ENTRIES, busy_node
from trinity.clock import Clock
from trinity.memory.access import AccessMemory
from trinity.memory.address_table import AddressTable
from trinity.memory.block_table import BlockTable
from trinity.memory.key_table import KeyTable
from trinity.memory.limit_table import LimitTable
from trinity.memory.node import NodeMemory
from trinity.memory.usage_ring import UsageRing, private_ring
from trinity.process import NodeView, ProcessContext
from trinity.store.partitions import Retention
from trinity.vocabulary import KeyState
from workers.api.app import make_app, take_up
from workers.api.base.calls import AccountedApp
from workers.api.base.context import Parts, ReportSettings
from workers.api.server import Service, open_service
from workers.request.lookups import LocalLookups

RING_RECORDS = 1024
KEYS = 16  # more than any of the databases here has
ADMIN_KEY = "the-operator-s-own-key"
NO_DATABASE = "postgresql:///none?host=/nonexistent"
# Routes of services that are over, and what gives back those of each open service. To make them takes half a second of
# processor, and their document as much again, in a thousand tests.
_FREE: list[Litestar] = []
_LENT: dict[int, contextlib.ExitStack] = {}


class Given(NamedTuple):
    """What a reporting process is given, in the order of its `run`."""

    context: ProcessContext
    memory: NodeView
    tables: AccessMemory
    ring: UsageRing


def reporter_of(
    memory: NodeMemory,
    tables: AccessMemory | None = None,
    rings: tuple[UsageRing, ...] = (),
    clock: Clock | None = None,
) -> Given:
    """In the place of the health process, which counts nothing itself; with tables of its own."""
    index = [entry.kind for entry in ENTRIES].index("health")
    context = context_of(memory, index, clock, name="reporter-0", kind="reporter")
    return Given(
        context, NodeView(memory, rings), tables or tables_of(), UsageRing(Path(), private_ring(2, RING_RECORDS))
    )


def lookup_of(memory: NodeMemory) -> LocalLookups:
    """The workers' way to answer, as the composition gives it."""
    return LocalLookups(memory.answers.words, memory.card.catalog)


def tables_of(keys: KeyTable | None = None, blocks: BlockTable | None = None) -> AccessMemory:
    """A node's tables of who may ask: everybody, unless they are given."""
    keys, blocks = keys or unlimited_keys(), blocks or BlockTable.private()
    return AccessMemory(keys, LimitTable.private(KEYS), AddressTable.private(), blocks)


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
    """Settings of a test: keys are required, the operator has one, no database, the usage below is young enough."""
    settings = ReportSettings(
        bind_host="127.0.0.1", tcp_port=0, udp_port=0, data_dir=data_dir, auth="required", admin_key=ADMIN_KEY,
        database_url=NO_DATABASE, cache=None, retention=Retention(detail_days=1_000, sums_months=36),
    )  # fmt: skip
    return settings._replace(**changes)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def service(settings: ReportSettings, tables: AccessMemory | None = None) -> AsyncIterator[tuple[Parts, ASGIApp]]:
    """The parts and the whole application of a process with these settings."""
    async with opened(settings, tables) as made:
        yield made.parts, application_of(made)


@contextlib.contextmanager
def routes_over(made: Service) -> Iterator[Litestar]:
    """The routes of a service that is over, if there is one, over the parts of this one."""
    if _FREE:
        app = _FREE.pop()
        take_up(app, made.parts, made.features)
    else:
        app = make_app(made.parts, made.features)
    yield app
    _FREE.append(app)


@contextlib.asynccontextmanager
async def opened(settings: ReportSettings, tables: AccessMemory | None = None) -> AsyncIterator[Service]:
    """What such a process serves, the features' own pieces as well."""
    with busy_node() as memory:
        async with open_service(*reporter_of(memory, tables), settings, lookup=lookup_of(memory)) as made:
            with contextlib.ExitStack() as lent:
                _LENT[id(made)] = lent
                try:
                    yield made
                finally:
                    del _LENT[id(made)]


def application_of(made: Service) -> ASGIApp:
    """The whole application, without the server around it."""
    lent, parts = _LENT.get(id(made)), made.parts
    app = make_app(parts, made.features) if lent is None else lent.enter_context(routes_over(made))
    return AccountedApp(app, parts.calls, parts.callers, parts.context.clock, parts.context.log)


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
