"""What must happen once happens once while Valkey is killed and begins empty before each word to PostgreSQL.

Each point is done as its users do it, and then again, as after an answer that was lost: by two nodes where there are
two. Valkey is written beside it by those who write it, so there is something to lose at every moment.
"""

import asyncio
import contextlib
import datetime
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.support.contexts import open_context
from tests.support.valkey_server import ValkeyServer
from tests.workers.api.conftest import client_to, service, settings_of
from tests.workers.api.pushes.conftest import WANTED
from tests.workers.ledger import ledger_fixture, test_delivery_tables
from trinity.access import keys
from trinity.cache.client import SyncCacheClient
from trinity.cache.keys import DAILY, USAGE_LOGS
from trinity.clock import SystemClock
from trinity.config import MailSection
from trinity.errors import CacheUnavailableError
from trinity.markets import load_catalog
from trinity.memory.candle_table import CandleTable
from trinity.memory.limit_table import LimitTable, take_lookups
from trinity.push.events import emit
from trinity.store.connect import AnyConnection, connect
from trinity.store.partitions import Retention
from trinity.sync.once import sync_once
from workers.ledger.delivery_tables import DELIVERY
from workers.ledger.disk.spool import Spool
from workers.ledger.drain import Drain
from workers.ledger.kind import RecordKind
from workers.ledger.ledger import Ledger
from workers.ledger.usage.usage_tables import USAGE
from workers.operator.alarms import NodeAlarms
from workers.operator.daily import publisher
from workers.operator.event_mails import EventMails
from workers.operator.jobs import Jobs, Work
from workers.operator.mail import Mailer
from workers.operator.quotas import QuotaWarnings

LOG = logging.getLogger("tests.emptied")
RECORDS = 60
QUOTA = 100
# A restart takes some 50 ms; the words behind these are those of the same thing done again.
RESTARTS_MAX = 60


class Scene(NamedTuple):
    """The stores, and a folder."""

    url: str
    valkey: ValkeyServer
    cache: SyncCacheClient
    folder: Path
    connection: AnyConnection

    def count(self, what: str) -> int:
        return int(ledger_fixture.one(self.connection, f"SELECT count(*) FROM {what}"))


class Emptying:
    """While it is on, Valkey is killed and begins empty before every word that is said to PostgreSQL."""

    def __init__(self, valkey: ValkeyServer, patch: pytest.MonkeyPatch) -> None:
        self._valkey, self._is_on, self.restarts = valkey, False, 0
        self._one = threading.Lock()
        wait, wait_async = psycopg.Connection.wait, psycopg.AsyncConnection.wait

        def watched(connection: Any, *arguments: Any, **named: Any) -> Any:
            self._empty()
            return wait(connection, *arguments, **named)

        async def watched_async(connection: Any, *arguments: Any, **named: Any) -> Any:
            self._empty()
            return await wait_async(connection, *arguments, **named)

        patch.setattr(psycopg.Connection, "wait", watched)
        patch.setattr(psycopg.AsyncConnection, "wait", watched_async)

    def __enter__(self) -> None:
        self._is_on = True

    def __exit__(self, *_error: object) -> None:
        self._is_on = False

    def _empty(self) -> None:
        with self._one:  # a service speaks to PostgreSQL in several threads
            if self._is_on and self.restarts < RESTARTS_MAX:
                self._valkey.restart(empty=True)
                self.restarts += 1


@pytest.fixture
def scene(database_url: str, valkey_server: ValkeyServer, tmp_path: Path) -> Iterator[Scene]:
    cache = SyncCacheClient.open(valkey_server.settings)
    with connect(database_url, "tests", autocommit=True) as connection:
        yield Scene(database_url, valkey_server, cache, tmp_path, connection)
    cache.close()


@pytest.fixture
def emptying(valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Emptying:
    return Emptying(valkey_server, monkeypatch)


def _batch(scene: Scene, kind: RecordKind, ring: Any) -> Callable[[], None]:
    """A file of the ledger: loaded, not removed by a flusher that dies, and loaded by the next one."""
    spool = Spool(kind, scene.folder / "spool", 1 << 30)
    Drain(
        [ring], spool, scene.folder / "reserve", ledger_fixture.make_block(), LOG, ledger_fixture.no_beat, SystemClock()
    ).turn()
    unit = spool.take()
    assert unit is not None
    ledger = Ledger(scene.connection, kind, ledger_fixture.NODE, "n")

    def act() -> None:
        ledger.load(unit)
        if kind is USAGE:
            with contextlib.suppress(CacheUnavailableError):  # the run's end; the next one goes on
                sync_once(scene.url, scene.valkey.settings, 93)

    return act


def a_batch_of_usage(scene: Scene) -> tuple[Callable[[], None], Callable[[], None]]:
    """Rows and sums once; the sync of an emptied Valkey brings all of them."""
    ring = ledger_fixture.make_ring(scene.folder)
    assert ledger_fixture.fill(ring, ledger_fixture.make_records(RECORDS)) == RECORDS

    def check() -> None:
        totals = ledger_fixture.totals(scene.connection)
        assert set(totals.values()) == {RECORDS}, totals
        assert scene.count("usage_batches") == 1
        sync_once(scene.url, scene.valkey.settings, 93)
        with scene.valkey.admin() as admin:
            assert admin.zcard(USAGE_LOGS.name()) == RECORDS

    return _batch(scene, USAGE, ring), check


def a_batch_of_deliveries(scene: Scene) -> tuple[Callable[[], None], Callable[[], None]]:
    """One row each."""
    ring = test_delivery_tables.make_ring(scene.folder)
    test_delivery_tables.deliver(ring, RECORDS)

    def check() -> None:
        found = ledger_fixture.one(
            scene.connection, "SELECT (count(*), count(DISTINCT delivery_id))::text FROM push_deliveries"
        )
        assert found == f"({RECORDS},{RECORDS})"

    return _batch(scene, DELIVERY, ring), check


def an_event(scene: Scene) -> tuple[Callable[[], None], Callable[[], None]]:
    """Told by two nodes that see the same thing; one delivery for the endpoint that wants it."""
    scene.connection.execute("INSERT INTO accounts (name) VALUES ('acme')")
    scene.connection.execute("INSERT INTO push_endpoints (account_id, url, secret) VALUES (1, 'https://x/', 's')")

    def act() -> None:
        for _ in range(2):
            with connect(scene.url, "tests", autocommit=True) as node, node.transaction():
                emit(node, 1, "key.quota_warning", {"percent": 80}, once="key 1, March, 80 %")

    def check() -> None:
        assert (scene.count("push_events"), scene.count("push_event_deliveries")) == (1, 1)

    return act, check


def a_request_with_an_idempotency_key(scene: Scene) -> tuple[Callable[[], None], Callable[[], None]]:
    """POST /subscriptions, at one reporting service after the other, each with its client of Valkey."""
    _, key = keys.create(scene.connection, keys.NewKey("acme", "free"), 100)
    settings = settings_of(scene.folder, database_url=scene.url, cache=scene.valkey.settings)
    answers: list[str] = []

    async def ask() -> None:
        async with service(settings) as (_, app), client_to(app) as client:
            headers = {"X-API-Key": key, "Idempotency-Key": "order-1"}
            for _ in range(2):
                answer = await client.post("/subscriptions", json=WANTED, headers=headers)
                assert answer.status_code == 201, answer.text
                answers.append(answer.text)

    def check() -> None:
        assert len(answers) == 4
        assert len(set(answers)) == 1, "who asks again is told the same, the secret too"
        assert (scene.count("push_subscriptions"), scene.count("audit_log")) == (1, 1)

    return lambda: asyncio.run(ask()), check


def the_operators_jobs(scene: Scene) -> tuple[Callable[[], None], Callable[[], None]]:
    """All of them, on two nodes that both believe to be the active one; a key used up its month on both."""
    key, _ = keys.create(scene.connection, keys.NewKey("acme", "free"), 100)
    scene.connection.execute("UPDATE api_keys SET monthly_quota = %s", [QUOTA])
    today = datetime.datetime.now(datetime.UTC)
    nodes = []
    for number in range(2):
        node = uuid.UUID(int=number + 1)
        scene.connection.execute("INSERT INTO nodes (uuid, name) VALUES (%s, %s)", [node, f"n{number}"])
        limits, block = LimitTable.private(9), ledger_fixture.make_block()
        assert take_lookups(limits.words, key.id, today.year * 12 + today.month - 1, QUOTA, QUOTA) == 0
        nodes.append((node, limits, block))
    before = scene.count("push_events")

    def act() -> None:
        with open_context("operator", "operator", load_catalog()) as context:
            for node, limits, block in nodes:
                mailer = Mailer(MailSection(), None)
                work = Work(
                    scene.connection, node, SystemClock(), CandleTable(scene.folder / "candles", LOG),
                    publisher(scene.cache), Retention(93, 36), LOG, QuotaWarnings(limits, mailer, block, LOG),
                    EventMails(mailer, block, LOG), NodeAlarms(context.memory, LOG), block,
                )  # fmt: skip
                Jobs(Random(1), block).run_due(work, lambda: True)

    def check() -> None:
        claimed = scene.connection.execute("SELECT key_id, percent FROM quota_warnings ORDER BY 2").fetchall()
        assert claimed == [(key.id, 80), (key.id, 100)]
        assert scene.count("push_events") - before == 1, "of what is reached at once the highest is told"
        assert scene.count("daily_figures") >= 1
        act()
        with scene.valkey.admin() as admin:
            assert admin.get(DAILY.name()) is not None

    return act, check


POINTS = (
    a_batch_of_usage,
    a_batch_of_deliveries,
    an_event,
    a_request_with_an_idempotency_key,
    the_operators_jobs,
)


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.__name__)
def test_nothing_twice_and_nothing_lost_while_valkey_is_emptied_at_every_moment(
    scene: Scene, emptying: Emptying, point: Callable[[Scene], tuple[Callable[[], None], Callable[[], None]]]
) -> None:
    """Once with Valkey killed before each word to PostgreSQL, once more the same, and what the tables say then."""
    act, check = point(scene)
    with emptying:
        act()
    assert emptying.restarts >= 5
    act()
    check()


def test_a_claim_in_valkey_would_be_found(scene: Scene, emptying: Emptying) -> None:
    """What is claimed there and done in PostgreSQL is done twice: so these tests can fail."""
    scene.connection.execute("CREATE TABLE done (what text)")

    def act() -> None:
        for _ in range(2):
            with contextlib.suppress(CacheUnavailableError):
                if scene.cache.run([("SET", "webhook:1", "1", "NX")], 1.0) == [b"OK"]:
                    scene.connection.execute("INSERT INTO done VALUES ('paid')")

    with emptying:
        act()
    act()
    assert scene.count("done") > 1
