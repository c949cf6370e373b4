"""trinity/backup/comparison.py"""

import datetime
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.database import DatabaseServer
from trinity.backup.comparison import (
    TABLES,
    ComparedTable,
    ComparisonResult,
    KnownTransactions,
    SumsBucket,
    compare,
    differences_of,
    known_to,
    side_by_side,
)
from trinity.errors import RefusedError
from trinity.store import queries
from trinity.store.connect import AnyConnection, connect
from trinity.store.partitions import ensure_days
from trinity.vocabulary import LATENCY_BUCKETS

DAY = datetime.date(2026, 3, 2)
TODAY = DAY + datetime.timedelta(days=1)
MINUTE = datetime.datetime(2026, 3, 2, 5, 7, tzinfo=datetime.UTC)
SUMS = ComparedTable("usage_minute", "start", ("sum(requests)",), False, "usage_minute")
RUNS = ComparedTable("usage_runs", "second", ("sum(rows)",), True, "usage_minute")
_ids = itertools.count()


class Pair:
    """A live database and a copy of it, as a restored one is: of the moment when `copy` was called."""

    def __init__(self, server: DatabaseServer, url: str) -> None:
        self._server, self._live_url = server, url
        self._name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        self.copy_name = f"{self._name}_copy"
        self.live = connect(url, "live", autocommit=True)
        self._known: KnownTransactions | None = None

    def copy(self) -> None:
        """As of now; also what is not committed is not in it."""
        self.live.close()
        with connect(self._server.url(), "tests", autocommit=True) as admin:
            self._known = known_to(admin)
            admin.execute(f'CREATE DATABASE "{self.copy_name}" TEMPLATE "{self._name}"')
        self.live = connect(self._live_url, "live", autocommit=True)

    def in_copy(self, statement: str) -> None:
        """Damage the copy. Its rows get new numbers there, which nobody looks at."""
        with connect(self._server.url(self.copy_name), "damage", autocommit=True) as connection:
            connection.execute(statement)

    def compare(self) -> ComparisonResult:
        assert self._known is not None
        known = self._known
        with (
            connect(self._live_url, "one", statement_seconds=0) as live,
            connect(self._server.url(self.copy_name), "other", statement_seconds=0) as restored,
        ):
            return compare(live, restored, known, TODAY)

    def close(self) -> None:
        self.live.close()
        with connect(self._server.url(), "tests", autocommit=True) as admin:
            admin.execute(f'DROP DATABASE IF EXISTS "{self.copy_name}" WITH (FORCE)')


@pytest.fixture
def pair(database_server: DatabaseServer, database_url: str) -> Iterator[Pair]:
    made = Pair(database_server, database_url)
    ensure_days(made.live, [DAY - datetime.timedelta(days=1), DAY, TODAY])
    yield made
    made.close()


def _answer(connection: AnyConnection, minute: datetime.datetime, requests: int) -> None:
    """Single requests, and the sums of them, in one transaction, as the loader does."""
    words = [0] * (2 * requests + 2)
    buckets = [requests] + [0] * (LATENCY_BUCKETS - 1)
    with connection.transaction():
        connection.execute(
            "INSERT INTO usage_runs VALUES (%s, %s, 7, 1, %s, 0, 200, 0, 1, %s)",
            [minute, next(_ids) << 20, requests, words],
        )
        for table, start in (
            ("usage_minute", minute),
            ("usage_hour", minute.replace(minute=0)),
            ("usage_day", minute.replace(hour=0, minute=0)),
        ):
            connection.execute(
                f"INSERT INTO {table} AS kept VALUES (%s, 7, 1, 0, 200, 1, %s, %s, %s, %s) "
                "ON CONFLICT (start, key_id, asset_id, protocol, status, node_id) DO UPDATE SET "
                "requests = kept.requests + excluded.requests, lookups = kept.lookups + excluded.lookups",
                [start, requests, requests, 100 * requests, buckets],
            )


def _later(minutes: int) -> datetime.datetime:
    return MINUTE + datetime.timedelta(minutes=minutes)


def test_a_copy_is_equal_whatever_came_later(pair: Pair) -> None:
    """Rows of later minutes, of the same minute and of a minute long ago: none of them is a difference."""
    for minute in range(3):
        _answer(pair.live, _later(minute), 10)
    pair.live.execute("INSERT INTO accounts (name) VALUES ('one')")
    pair.copy()
    for minute in (5, 2, -1000):
        _answer(pair.live, _later(minute), 4)
    pair.live.execute("INSERT INTO accounts (name) VALUES ('another')")
    found = pair.compare()
    assert found.shown == ()
    assert found.requests == 30
    assert found.buckets > 10


# Each spoils another bucket of its table.
DAMAGES = (
    ("usage_runs", "DELETE FROM usage_runs WHERE second = '2026-03-02 05:08Z'"),
    ("usage_runs", "INSERT INTO usage_runs SELECT * FROM usage_runs WHERE second = '2026-03-02 05:07Z'"),
    ("usage_minute", "UPDATE usage_minute SET requests = requests - 1 WHERE start = '2026-03-02 05:07Z'"),
    ("usage_minute", "DELETE FROM usage_minute WHERE start = '2026-03-02 05:08Z'"),
    ("usage_day", "UPDATE usage_day SET latency_sum_ns = 0"),
    ("accounts", "UPDATE accounts SET name = 'two' WHERE id = 1"),
    ("accounts", "DELETE FROM accounts WHERE id = 1001"),
    ("plans", "UPDATE plans SET burst = burst + 1 WHERE name = 'pro'"),
)


def test_what_a_copy_lacks_or_has_otherwise_is_found(pair: Pair) -> None:
    """One damage after the other, each of them beside those before."""
    for minute in range(3):
        _answer(pair.live, _later(minute), 10)
    pair.live.execute(
        "INSERT INTO accounts (id, name) OVERRIDING SYSTEM VALUE "
        "SELECT id, 'name ' || id FROM unnest('{1, 1001}'::int[]) AS id"
    )
    pair.copy()
    _answer(pair.live, _later(24 * 60), 4)  # the next day's
    before: dict[str, int] = {}
    for table, damage in DAMAGES:
        pair.in_copy(f"SET session_replication_role = replica; {damage}")
        found = Counter(name for name, _ in {(each.table, each.bucket) for each in pair.compare().shown})
        assert found == {**before, table: before.get(table, 0) + 1}, damage
        before = dict(found)


def test_a_transaction_that_was_under_way_is_told_by_its_number(database_url: str) -> None:
    """It has a lower number than the next one, but nothing of it is there: its rows are nobody's loss."""
    with connect(database_url, "slow") as slow, connect(database_url, "quick", autocommit=True) as quick:
        number = slow.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert number is not None
        quick.execute("SELECT pg_current_xact_id()")
        known = known_to(quick)
    assert number[0] in known.unfinished
    assert int(known.next) > int(number[0])


def test_days_that_retention_dropped_are_not_asked_for(pair: Pair) -> None:
    """A day that the live database has no more is no difference."""
    _answer(pair.live, MINUTE - datetime.timedelta(days=1), 10)
    _answer(pair.live, MINUTE, 10)
    pair.copy()
    yesterday = f"{DAY - datetime.timedelta(days=1):%Y%m%d}"
    for table in ("usage_runs", "usage_minute", "refusal_minute", "report_usage_log"):
        pair.live.execute(f"DROP TABLE {table}_{yesterday}")
    found = pair.compare()
    assert found.shown == ()
    assert found.requests == 10


def test_retention_waits_while_the_two_are_compared(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The live database cannot drop a day under the comparison's eyes: the other one would seem to have too much."""
    _answer(pair.live, MINUTE, 10)
    pair.copy()
    refused = []

    def try_to_drop(table: ComparedTable, one: SumsBucket, other: SumsBucket) -> Iterator[Any]:
        if not refused:
            pair.live.execute("SET lock_timeout = '100ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                pair.live.execute(f"DROP TABLE usage_runs_{DAY:%Y%m%d}")
            refused.append(True)
        return differences_of(table, one, other)

    monkeypatch.setattr("trinity.backup.comparison.differences_of", try_to_drop)
    assert pair.compare().shown == ()
    assert refused


def test_another_cluster_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal sums of two databases that never were one say nothing."""
    load = queries.load
    other = (
        "SELECT system_identifier + (application_name = 'trinity other')::int "
        "FROM pg_control_system(), pg_stat_activity WHERE pid = pg_backend_pid()"
    )
    monkeypatch.setattr(queries, "load", lambda name: other if name == "drill.identity" else load(name))
    with connect(database_url, "one") as live, connect(database_url, "other") as restored:
        known = known_to(restored)
        with pytest.raises(RefusedError, match="is of the database"):
            compare(live, restored, known, TODAY)


def test_all_tables_of_the_ledger_are_compared(pair: Pair) -> None:
    """A table that a migration adds to the ledger's families is not forgotten here."""
    rows = pair.live.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'p' AND relnamespace = 'public'::regnamespace"
    ).fetchall()
    assert {name for (name,) in rows} <= {table.name for table in TABLES}


keys = st.integers(0, 30)
columns = st.dictionaries(keys, st.integers(1, 5))


def _column(rows: dict[int, int]) -> list[SumsBucket]:
    return [SumsBucket(key, count, (count,)) for key, count in sorted(rows.items())]


@given(columns, columns)
def test_each_bucket_stands_beside_its_like(one: dict[int, int], other: dict[int, int]) -> None:
    """Every key of either side once, in order, with zero where a side has none."""
    found = [(mine.key, mine.rows, yours.key, yours.rows) for mine, yours in side_by_side(_column(one), _column(other))]
    assert found == [(key, one.get(key, 0), key, other.get(key, 0)) for key in sorted({*one, *other})]


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3), st.booleans())
def test_the_rules_of_a_bucket(live: int, restored: int, unknown: int, is_written_once: bool) -> None:
    """Equal wherever nothing was changed since, or nothing can be; at least the known rows elsewhere."""
    table = RUNS if is_written_once else SUMS
    wrong = list(differences_of(table, SumsBucket(1, live, (live,), unknown), SumsBucket(1, restored, (restored,))))
    if is_written_once or not unknown:
        assert bool(wrong) == (live != restored)
    else:
        assert bool(wrong) == (live > restored)
