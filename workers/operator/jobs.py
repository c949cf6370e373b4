"""What a node does with its database now and then: the one list, and a round over what is due.

Rules: a job is a function of an autocommit connection and the node; it makes its own transactions, is short, and may
be repeated. `scope` says how often there is one: "database" jobs run on the one active node of the database, "node"
jobs on every node, because they bring what is that node's own. Whatever a job raises concerns that job alone, unless
the connection is gone: then the round ends with its error.
"""

import datetime
import logging
import uuid
from collections.abc import Callable
from random import Random
from typing import Literal, NamedTuple

import psycopg

from trinity.clock import NS_PER_SECOND, Clock
from trinity.memory.candle_table import CandleTable
from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import OPERATOR
from trinity.push.leavings import delete_leavings
from trinity.store import partitions
from trinity.store.connect import AnyConnection
from trinity.store.queries import load_for
from workers.operator.alarms import NodeAlarms
from workers.operator.candles import load_candles
from workers.operator.daily import Publish, keep_figures
from workers.operator.event_mails import EventMails
from workers.operator.load import show_load
from workers.operator.quotas import QuotaWarnings
from workers.operator.schedule import Schedule


class Work(NamedTuple):
    """What the jobs need to know."""

    connection: AnyConnection
    node: uuid.UUID
    clock: Clock
    candles: CandleTable
    publish: Publish
    retention: partitions.Retention
    log: logging.Logger
    quotas: QuotaWarnings
    event_mails: EventMails
    alarms: NodeAlarms
    block: ProcessBlock


class Job(NamedTuple):
    """A job and its period in seconds; all are due at the start."""

    name: str  # one of OPERATOR_JOBS, trinity/vocabulary.py
    every_seconds: float
    scope: Literal["database", "node"]
    what: str
    run: Callable[[Work], object]


JOBS = (
    Job(
        "partitions", 3600, "database", "makes the daily partitions of the days ahead",
        lambda work: partitions.make_ahead(work.connection, _now(work)),
    ),
    Job(
        "retention", 3600, "database", "drops the day that is over age, and the small tables' rows before it",
        lambda work: partitions.retire(work.connection, work.clock, work.log, work.retention),
    ),
    Job(
        "batches", 3600, "database", "deletes the batches that no ring needs any more",
        lambda work: _prune_batches(work.connection),
    ),
    Job(
        "daily_figures", 60, "database", "computes the day's figures, keeps and publishes them",
        lambda work: keep_figures(work.connection, _now(work), work.publish),
    ),
    Job(
        "candles", 1, "node", "brings this node's closed minutes into the database",
        lambda work: load_candles(work.connection, work.candles, work.node),
    ),
    Job(
        "quota_warnings", 10, "node", "tells of keys that have used most or all of their month here",
        lambda work: work.quotas.warn(work.connection, _now(work)),
    ),
    Job(
        "quota_mails", 5, "database", "sends the mails of these warnings, where mail is configured",
        lambda work: work.quotas.send_mails(work.connection),
    ),
    Job(
        "event_mails", 5, "database", "sends the mails of events that ended something",
        lambda work: work.event_mails.send(work.connection),
    ),
    Job(
        "node_alarms", 5, "node", "tells the operator of feeds and prices that are lost, and there again",
        lambda work: work.alarms.look(work.connection, work.clock.monotonic_ns()),
    ),
    Job(
        "push_leavings", 3600, "database", "deletes events, orders and first answers that are over age",
        lambda work: delete_leavings(work.connection),
    ),
    Job(
        "database_load", 10, "node", "looks how many sessions the database's server has, and how many of them work",
        lambda work: show_load(work.connection, work.block),
    ),
)  # fmt: skip


# The tables of what each kind of the ledger's records has loaded.
_BATCHES = ("usage_batches", "delivery_batches")


class Jobs:
    """The jobs of one process, over one connection after the other."""

    def __init__(self, random: Random, block: ProcessBlock) -> None:
        self._schedule = Schedule({job.name: job.every_seconds for job in JOBS}, random)
        self._block = block

    def begin_anew(self) -> None:
        """There is another connection."""
        self._schedule.begin_anew()

    def run_due(self, work: Work, is_active: Callable[[], bool]) -> None:
        """Run what is due; raises psycopg's error when the connection is gone."""
        for job in JOBS:
            if not self._schedule.is_due(job.name, work.clock.monotonic_ns()):
                continue
            if job.scope == "node" or is_active():
                self._run(job, work)

    def _run(self, job: Job, work: Work) -> None:
        clock, schedule = work.clock, self._schedule
        schedule.begin(job.name, clock.monotonic_ns())
        try:
            job.run(work)
        except Exception as error:
            # A time-out or a deadlock is an OperationalError as well, and so is any fault of ours: of this job alone.
            if work.connection.closed and isinstance(error, psycopg.Error | OSError):
                raise
            self._block.count(OPERATOR.index("operator_job_failures_total", job.name))
            if schedule.failed(job.name, type(error).__name__, clock.monotonic_ns()):
                fields = {"job": job.name, "error": f"{type(error).__name__}: {' '.join(str(error).split())}"}
                work.log.error("job failed", extra={"fields": fields})
        else:
            self._block.count(OPERATOR.index("operator_job_runs_total", job.name))
            if schedule.succeeded(job.name, clock.monotonic_ns()):
                work.log.warning("job works again", extra={"fields": {"job": job.name}})
        failing = OPERATOR.index("operator_job_failing", job.name)
        self._block.set_gauge(failing, float(schedule.is_failing(job.name)))


def _now(work: Work) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(work.clock.wall_ns() / NS_PER_SECOND, datetime.UTC)


def _prune_batches(connection: AnyConnection) -> None:
    for table in _BATCHES:
        connection.execute(load_for("operator.prune_batches", table))
