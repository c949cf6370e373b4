"""What the loader's connection does beside the ledger, each at its own interval: the one list.

Rules: a job is a function of an autocommit connection and the node; it makes its own transactions, is short, and may
be repeated: after a failure it is tried again at its next turn.
"""

import datetime
import logging
from collections.abc import Callable
from typing import NamedTuple

import psycopg

from trinity.clock import NS_PER_SECOND, Clock
from trinity.memory.candle_table import CandleTable
from trinity.store import partitions
from trinity.store.connect import AnyConnection
from trinity.store.queries import load
from workers.ledger.candles import load_candles


class Work(NamedTuple):
    """What the jobs need to know."""

    connection: AnyConnection
    node_id: int
    clock: Clock
    candles: CandleTable
    log: logging.Logger


class Job(NamedTuple):
    """A job and its interval in seconds; all are due at the start."""

    name: str
    every_seconds: int
    run: Callable[[Work], object]


JOBS = (
    Job("partitions", 3600, lambda work: partitions.make_ahead(work.connection, _now(work))),
    Job("retention", 3600, lambda work: partitions.retire(work.connection, work.clock, work.log)),
    Job("batches", 3600, lambda work: work.connection.execute(load("ledger.prune_batches"))),
    Job("candles", 1, lambda work: load_candles(work.connection, work.candles, work.node_id)),
)


class Jobs:
    """When each job is due on one connection."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._due_ns = {job.name: 0 for job in JOBS}
        self._failing: dict[str, str] = {}

    def run_due(self) -> None:
        """Run what is due; raises psycopg's error when the connection is gone."""
        for job in JOBS:
            now_ns = self._work.clock.monotonic_ns()
            if now_ns < self._due_ns[job.name]:
                continue
            self._due_ns[job.name] = now_ns + job.every_seconds * NS_PER_SECOND
            try:
                job.run(self._work)
            except (psycopg.Error, OSError) as error:
                # A time-out or a deadlock is an OperationalError as well, and concerns the job alone.
                if self._work.connection.closed:
                    raise
                self._tell(job.name, str(error))
            else:
                self._tell(job.name, "")

    def _tell(self, job: str, error: str) -> None:
        """One line when it begins to fail, when the reason changes, and when it works again."""
        if error and error != self._failing.get(job):
            self._work.log.error("job failed", extra={"fields": {"job": job, "error": error}})
        elif not error and job in self._failing:
            self._work.log.warning("job works again", extra={"fields": {"job": job}})
        self._failing.pop(job, None)
        if error:
            self._failing[job] = error


def _now(work: Work) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(work.clock.wall_ns() / NS_PER_SECOND, datetime.UTC)
