"""workers/operator/jobs.py: each job against a real PostgreSQL, and what one that fails does to the others."""

import datetime
import logging
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np
import psycopg
import pytest

from tests.support.clocks import ManualClock
from tests.support.contexts import open_context
from trinity.clock import NS_PER_SECOND, SystemClock
from trinity.config import MailSection
from trinity.limits import COUNTER_WORDS
from trinity.markets import load_catalog
from trinity.memory.candle_table import CandleFile, CandleTable, Minute, candle_of, to_fixed
from trinity.memory.control import ProcessBlock
from trinity.memory.limit_table import LimitTable
from trinity.observe.metrics import OPERATOR
from trinity.store import partitions
from trinity.store.connect import connect
from trinity.store.partitions import Retention
from trinity.vocabulary import OPERATOR_JOBS
from workers.operator import jobs as module
from workers.operator.alarms import NodeAlarms
from workers.operator.event_mails import EventMails
from workers.operator.jobs import JOBS, Job, Jobs, Work
from workers.operator.mail import Mailer
from workers.operator.quotas import QuotaWarnings

LOG = logging.getLogger("tests.jobs")
NODE = uuid.UUID(int=7)
NOW = 1_900_000_000


@pytest.fixture
def block() -> ProcessBlock:
    return ProcessBlock(np.zeros(8 + COUNTER_WORDS, dtype=np.uint64))


@pytest.fixture
def work(database_url: str, tmp_path: Path, block: ProcessBlock) -> Iterator[Work]:
    with (
        connect(database_url, "tests", autocommit=True) as connection,
        open_context("operator", "operator", load_catalog()) as context,
    ):
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (%s, 'n')", [NODE])
        clock = ManualClock(NOW * NS_PER_SECOND, 0)
        quotas = QuotaWarnings(LimitTable.private(9), Mailer(MailSection(), None), block, LOG)
        alarms = NodeAlarms(context.memory, LOG)
        mails = EventMails(Mailer(MailSection(), None), block, LOG)
        candles = CandleTable(tmp_path, LOG)
        yield Work(
            connection, NODE, clock, candles, lambda _: None, Retention(93, 36), LOG, quotas, mails, alarms, block
        )


def _run(work: Work, block: ProcessBlock, *, is_active: bool = True) -> None:
    Jobs(Random(1), block).run_due(work, lambda: is_active)


def _one(work: Work, query: str) -> object:
    row = work.connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def test_partitions_are_made_ahead_and_old_batches_removed(work: Work, block: ProcessBlock) -> None:
    """The batch that says what is loaded stays, however old; others go after a day, of a node that is gone as well."""
    insert = "INSERT INTO usage_batches VALUES (%s, 0, %s, %s, 10, %s, now() - make_interval(days => %s))"
    mine = _one(work, "SELECT id FROM nodes")
    other = _one(work, "INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'gone') RETURNING id")
    batches = ((0, 0, 50), (10, 5, 50), (20, 0, 49), (30, 0, 48))
    for node, (first, lost, days) in [*((mine, batch) for batch in batches), (other, batches[0]), (other, batches[3])]:
        work.connection.execute(insert, [node, first, first + 10, lost, days])
    _run(work, block)
    rows = work.connection.execute("SELECT first_position FROM usage_batches ORDER BY node_id, 1").fetchall()
    assert rows == [(10,), (30,), (30,)], "one that lost detail says so as long as its rows would be kept"
    today = datetime.datetime.fromtimestamp(NOW, datetime.UTC).date()
    for days in range(-1, 4):
        name = partitions.partition_name("usage_runs", today + datetime.timedelta(days))
        assert _one(work, f"SELECT to_regclass('{name}') IS NOT NULL")


def test_daily_figures_are_kept_and_published(work: Work, block: ProcessBlock) -> None:
    """Today's row is in the table, and its bytes were handed to the cache."""
    published: list[bytes] = []
    _run(work._replace(publish=published.append), block)
    today = datetime.datetime.fromtimestamp(NOW, datetime.UTC).date()
    assert _one(work, "SELECT max(day) FROM daily_figures") == today
    assert f'"day":"{today}"'.encode() in published[0]


def test_a_node_that_is_not_the_active_one_does_only_what_is_its_own(
    work: Work, block: ProcessBlock, tmp_path: Path
) -> None:
    """Its closed minutes are stored, for nobody else has them; partitions and figures are the active one's."""
    price = to_fixed(Decimal(5))
    file = CandleFile.open(tmp_path, "BTC")
    for number in (NOW // 60, NOW // 60 + 1):
        file.append(candle_of(Minute(number, price, price, price, price, 0, price * 60_000, 60_000, 3, 6)))
    _run(work, block, is_active=False)
    assert _one(work, "SELECT count(*) FROM price_minute") == 2
    assert _one(work, "SELECT count(*) FROM daily_figures") == 0
    assert _one(work, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'usage_runs'::regclass") == 0
    _run(work, block)
    assert _one(work, "SELECT count(*) FROM daily_figures") == 2


def test_each_job_runs_at_its_own_interval(work: Work, block: ProcessBlock, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, then when it is due again; with another connection at once again."""
    runs: list[str] = []
    often = Job("candles", 2, "node", "", lambda _: runs.append("often"))
    rare = Job("retention", 60, "node", "", lambda _: runs.append("rare"))
    monkeypatch.setattr(module, "JOBS", (often, rare))
    jobs, clock = Jobs(Random(1), block), work.clock
    assert isinstance(clock, ManualClock)
    for seconds in (0, 1, 1, 58):
        clock.advance(seconds)
        jobs.run_due(work, lambda: False)
    assert runs == ["often", "rare", "often", "often", "rare"]
    clock.advance(1)
    jobs.begin_anew()
    jobs.run_due(work, lambda: False)
    assert runs[5:] == ["often", "rare"]


def test_a_job_that_fails_stops_no_other_and_is_told_once(
    work: Work, block: ProcessBlock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of the database, a time-out and a fault of ours: one line each, however often, and counted."""
    runs: list[int] = []
    is_broken = [True]

    def ours(_work: Work) -> None:
        assert not is_broken[0], "a fault"

    wrong = Job("partitions", 1, "database", "", lambda work: work.connection.execute("SELECT 1 / 0"))
    late = Job(
        "retention", 1, "database", "",
        lambda work: work.connection.execute("SET statement_timeout = 10; SELECT pg_sleep(60)"),
    )  # fmt: skip
    monkeypatch.setattr(
        module,
        "JOBS",
        (wrong, late, Job("batches", 1, "database", "", ours), Job("candles", 1, "node", "", lambda _: runs.append(1))),
    )
    jobs, clock = Jobs(Random(1), block), work.clock
    assert isinstance(clock, ManualClock)
    for _ in range(3):
        jobs.run_due(work, lambda: True)
        clock.advance(61)
    assert len(runs) == 3
    assert [record.message for record in caplog.records] == ["job failed"] * 3
    assert block.read_counter(OPERATOR.index("operator_job_failures_total", "batches")) == 3
    assert block.read_gauge(OPERATOR.index("operator_job_failing", "batches")) == 1
    assert block.read_counter(OPERATOR.index("operator_job_runs_total", "candles")) == 3
    is_broken[0] = False
    jobs.run_due(work, lambda: True)
    assert [record.message for record in caplog.records][3:] == ["job works again"]
    assert block.read_gauge(OPERATOR.index("operator_job_failing", "batches")) == 0


def test_a_lost_connection_ends_the_round(work: Work, block: ProcessBlock) -> None:
    """It is the connection's failure, and no job's."""
    work.connection.close()
    with pytest.raises(psycopg.OperationalError):
        _run(work, block)
    assert block.read_counter(OPERATOR.index("operator_job_failures_total", JOBS[0].name)) == 0


def test_a_connection_after_the_other_drops_no_more_than_one(
    database_url: str, work: Work, block: ProcessBlock
) -> None:
    """An operator or a database that comes and goes, with clocks that are months ahead, does not empty the ledger."""
    days = [row[0] for row in work.connection.execute("SELECT current_date - n FROM generate_series(120, 122) AS n")]
    partitions.ensure_days(work.connection, days)
    for _ in range(3):
        with connect(database_url, "tests", autocommit=True) as connection:
            _run(work._replace(connection=connection, clock=SystemClock()), block)
    left = "SELECT count(*) FROM pg_inherits WHERE inhrelid::regclass::text = ANY(%s)"
    names = [partitions.partition_name("usage_runs", day) for day in days]
    assert work.connection.execute(left, [names]).fetchone() == (2,)


def test_the_list_is_complete() -> None:
    """What the operator does, by the names of its metrics; each says what."""
    assert tuple(job.name for job in JOBS) == OPERATOR_JOBS
    assert all(job.what for job in JOBS)
