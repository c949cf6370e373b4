"""workers/ledger/jobs.py"""

import logging
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.clocks import ManualClock
from tests.workers.ledger.ledger_fixture import NODE, one
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.memory.candle_table import CandleTable
from trinity.store import partitions
from trinity.store.connect import connect
from workers.ledger import jobs as module
from workers.ledger.jobs import JOBS, Job, Jobs, Work
from workers.ledger.ledger import Ledger

LOG = logging.getLogger("tests.jobs")


@pytest.fixture
def work(database_url: str, tmp_path: Path) -> Iterator[Work]:
    with connect(database_url, "tests", autocommit=True) as connection:
        ledger = Ledger(connection, NODE, "n")
        yield Work(
            connection, ledger.node_id, ManualClock(1_900_000_000 * NS_PER_SECOND, 0), CandleTable(tmp_path, LOG), LOG
        )


def test_partitions_are_made_ahead_and_old_batches_removed(work: Work) -> None:
    """The batch that says what is loaded stays, however old; others go after a day, of a node that is gone as well."""
    insert = "INSERT INTO usage_batches VALUES (%s, 0, %s, %s, 10, %s, now() - make_interval(days => %s))"
    other = one(work.connection, "INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'gone') RETURNING id")
    batches = ((0, 0, 50), (10, 5, 50), (20, 0, 49), (30, 0, 48))
    for node, (first, lost, days) in [
        *((work.node_id, batch) for batch in batches),
        (other, batches[0]),
        (other, batches[3]),
    ]:
        work.connection.execute(insert, [node, first, first + 10, lost, days])
    Jobs(work).run_due()
    rows = work.connection.execute("SELECT first_position FROM usage_batches ORDER BY node_id, 1").fetchall()
    assert rows == [(10,), (30,), (30,)], "one that lost detail says so as long as its rows would be kept"
    assert one(work.connection, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'usage_log'::regclass") >= 4


def test_each_job_runs_at_its_own_interval(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, then when it is due again."""
    runs: list[str] = []
    monkeypatch.setattr(
        module,
        "JOBS",
        (
            Job("often", 1, lambda _: runs.append("often")),
            Job("rare", 60, lambda _: runs.append("rare")),
        ),
    )
    jobs = Jobs(work)
    clock = work.clock
    assert isinstance(clock, ManualClock)
    for seconds in (0, 0.5, 1, 60):
        clock.now_ns = ManualClock.now_ns + int(seconds * NS_PER_SECOND)
        jobs.run_due()
    assert runs == ["often", "rare", "often", "often", "rare"]


def test_a_job_that_fails_keeps_nobody_from_the_ledger(
    work: Work, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, a time-out as well, which is an OperationalError; only a lost connection ends the round."""
    runs: list[str] = []
    wrong = Job("wrong", 60, lambda work: work.connection.execute("SELECT 1 / 0"))
    late = Job("late", 60, lambda work: work.connection.execute("SET statement_timeout = 10; SELECT pg_sleep(60)"))
    monkeypatch.setattr(module, "JOBS", (wrong, late, Job("next", 1, lambda _: runs.append("next"))))
    Jobs(work).run_due()
    assert runs == ["next"]
    assert [record.message for record in caplog.records] == ["job failed"] * 2
    work.connection.close()
    with pytest.raises(psycopg.OperationalError):
        Jobs(work).run_due()


def test_a_connection_after_the_other_drops_no_more_than_one(database_url: str, work: Work) -> None:
    """A flusher or a database that comes and goes, with clocks that are months ahead, does not empty the ledger."""
    days = [row[0] for row in work.connection.execute("SELECT current_date - n FROM generate_series(120, 122) AS n")]
    partitions.ensure_days(work.connection, days)
    for _ in range(3):
        with connect(database_url, "tests", autocommit=True) as connection:
            Jobs(work._replace(connection=connection, clock=SystemClock())).run_due()
    left = "SELECT count(*) FROM pg_inherits WHERE inhrelid::regclass::text = ANY(%s)"
    names = [partitions.partition_name("usage_log", day) for day in days]
    assert work.connection.execute(left, [names]).fetchone() == (2,)


def test_the_list_is_complete() -> None:
    """What this process does beside the ledger."""
    assert [job.name for job in JOBS] == ["partitions", "retention", "batches", "candles"]
