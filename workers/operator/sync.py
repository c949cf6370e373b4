"""The sync job by the clock: daily at 01:00 in New York, on one node of the database.

    due            the next 01:00 behind the last run that ended well has passed: once, however long nobody ran
    never yet      due at once
    Valkey empty   due at once: it holds nothing of the ledger (it was restarted, or is new)
    it runs        on whichever node is first: PostgreSQL's lock; the others look again a while later
    it fails       again, after a back-off; what arrived is kept

Rules: a thread of its own, beside the operator's: a run takes seconds, or minutes, and the other jobs must not wait.
Schedules are cronsim's: 01:00 is there twice when clocks are set back, and the job runs once.
"""

import contextlib
import logging
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import psycopg
from cronsim import CronSim

from trinity.cache.address import CacheSettings
from trinity.cache.client import SyncCacheClient
from trinity.cache.keys import SYNC_MARK
from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import CacheUnavailableError, SchemaError, SyncRunningError, TrinityError
from trinity.memory.control import ProcessBlock
from trinity.observe.log import Outage
from trinity.observe.metrics import OPERATOR
from trinity.store import migrate
from trinity.store.connect import connect
from trinity.store.queries import load
from trinity.store.session_thread import SessionThread
from trinity.sync.once import described, sync_once

SCHEDULE, ZONE = "0 1 * * *", ZoneInfo("America/New_York")
# How often it is asked whether it is due: a question to PostgreSQL and one to Valkey.
LOOK_SECONDS = 15.0
# After a failure, beside the back-off of the connection.
_REST_SECONDS = 30.0

_RUNS, _FAILURES = OPERATOR.index("sync_runs_total"), OPERATOR.index("sync_failures_total")
_ENTRIES, _SECONDS = OPERATOR.index("sync_entries_total"), OPERATOR.index("sync_last_seconds")
_ENDED, _LEFT_OUT = OPERATOR.index("sync_last_timestamp_seconds"), OPERATOR.index("sync_left_out_seconds")


def next_run(after: datetime) -> datetime:
    """The first time behind `after` at which the job is due, in UTC."""
    due: datetime = next(CronSim(SCHEDULE, after.astimezone(ZONE)))
    return due.astimezone(UTC)


def is_due(last: datetime | None, now: datetime, *, is_empty: bool) -> bool:
    """Whether to run now: `last` is the end of the last good run, `is_empty` says that Valkey holds nothing."""
    return last is None or is_empty or next_run(last) <= now


class SyncThread(SessionThread):
    """Runs the job when it is due."""

    def __init__(
        self, url: str, cache: CacheSettings, detail_days: int, block: ProcessBlock, clock: Clock, log: logging.Logger
    ) -> None:
        super().__init__("sync", url, clock)
        self._settings, self._detail_days = cache, detail_days
        self._block, self._log = block, log
        self._outage = Outage(log, logging.WARNING, "the sync waits", "the sync goes on")

    def _live_one_connection(self) -> None:
        """Look, run, look again: each run has a connection of its own, so that it keeps its lock for no longer."""
        try:
            migrate.check(self._url)
            with (
                connect(self._url, "sync clock", autocommit=True) as connection,
                contextlib.closing(SyncCacheClient.open(self._settings, self._clock)) as cache,
            ):
                self._watch.guard(connection)
                while not self._stopping.is_set():
                    last, now = connection.execute(load("sync.last")).fetchone() or (None, datetime.now(UTC))
                    if is_due(last, now, is_empty=_is_empty(cache)):
                        self._run()
                    self._outage.up()
                    self._on_good()
                    self._stopping.wait(LOOK_SECONDS)
        except SchemaError as error:
            self._outage.fault(str(error))
        except (psycopg.Error, TrinityError, OSError) as error:
            self._outage.down(f"{type(error).__name__}: {' '.join(str(error).split())}", self._clock.monotonic_ns())
            self._stopping.wait(_REST_SECONDS)

    def _run(self) -> None:
        began_ns = self._clock.monotonic_ns()
        try:
            result = sync_once(self._url, self._settings, self._detail_days, guard=self._watch.guard)
        except SyncRunningError:
            return  # another node's, or somebody's command
        except TrinityError:
            self._block.count(_FAILURES)
            raise
        seconds = (self._clock.monotonic_ns() - began_ns) / NS_PER_SECOND
        self._block.count(_RUNS)
        self._block.count(_ENTRIES, result.usage_entries + result.report_calls)
        self._block.set_gauge(_SECONDS, seconds)
        self._block.set_gauge(_ENDED, self._clock.wall_ns() / NS_PER_SECOND)
        self._block.set_gauge(_LEFT_OUT, float(sum(end - start for start, end in result.left_out)))
        level = logging.WARNING if result.left_out else logging.INFO
        self._log.log(level, "synced", extra={"fields": {**described(result), "seconds": round(seconds, 3)}})


def _is_empty(cache: SyncCacheClient) -> bool:
    """CacheUnavailableError while nobody can say."""
    (found,) = cache.run([("EXISTS", SYNC_MARK.name())])
    if isinstance(found, Exception):
        raise CacheUnavailableError(str(found))
    return bool(found == 0)
