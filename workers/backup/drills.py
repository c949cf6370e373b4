"""Drills by themselves: when one is due it runs on a thread of its own; what the newest one found stands in the gauges.

Rules: the database's own rows say when one is due, so that nodes, restarts and commands agree (drill_rows.py). Without
an identity there is none: it is said once, and no gauge claims anything. A drill ends with its process; the next one
clears up behind it.
"""

import logging
import threading
from pathlib import Path
from random import Random

import psycopg

from trinity.backup.base import Origin
from trinity.backup.crypt import read_identities
from trinity.backup.drill import DrillPlace, drill
from trinity.backup.drill_rows import DrillResult, is_due_now, last_drill
from trinity.backup.target import BackupTarget
from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import ConfigError, RefusedError, RestoreError, TrinityError
from trinity.memory.control import ProcessBlock
from trinity.observe.metrics import BACKUP
from trinity.store.connect import AnyConnection

_TURN_SECONDS = 0.1
_GAUGES = {
    "drill_base_age_seconds": "base_age_seconds",
    "drill_wal_lag_seconds": "lag_seconds",
    "drill_rpo_seconds": "rpo_seconds",
    "drill_rto_seconds": "rto_seconds",
    "drill_requests": "requests",
    "drill_differences": "differences",
}


class Drills:
    """Of the node that backs up; `look` now and then."""

    def __init__(
        self,
        origin: Origin,
        target: BackupTarget,
        identity: str,
        block: ProcessBlock,
        clock: Clock,
        log: logging.Logger,
    ) -> None:
        self._origin, self._target, self._identity = origin, target, identity
        self._block, self._clock, self._log = block, clock, log
        self._run: DrillRun | None = None
        self._said_none = False
        block.set_gauge(BACKUP.index("drill_last_age_seconds"), -1.0)

    def look(self, connection: AnyConnection, *, may_begin: bool) -> None:
        """Begin what is due, end what is over, show the newest. RestoreError: it could not begin."""
        self._end()
        if not may_begin:
            return  # there is no base yet; perhaps not even our tables
        if not self._identity:
            if not self._said_none:
                self._said_none = True
                self._log.warning("backups are not tried: no BACKUP_DRILL_IDENTITY")
        elif self._run is None and is_due_now(connection):
            try:
                identities = read_identities(Path(self._identity))
            except ConfigError as error:
                raise RestoreError(f"no drill: {error}") from None  # backups go on
            place = DrillPlace(self._origin.url, self._target, identities, self._origin.scratch)
            self._run = DrillRun(place, self._clock, self._log)
            self._run.start()
        self._show(connection)

    def _end(self) -> None:
        run = self._run
        if run is None or run.is_alive():
            return
        self._run = None
        if isinstance(run.failure, TrinityError):
            raise RestoreError(f"no drill: {run.failure}") from run.failure
        if run.failure is not None:
            raise run.failure
        if run.result is None:
            return  # another node's or somebody's by hand is under way
        result = run.result
        self._block.count(BACKUP.index("drill_runs_total", result.outcome))
        level = logging.INFO if result.outcome == "good" else logging.CRITICAL
        self._log.log(level, "drill of the backups", extra={"fields": result._asdict()})

    def _show(self, connection: AnyConnection) -> None:
        self._block.set_gauge(BACKUP.index("drill_running"), float(self._run is not None))
        last = last_drill(connection)
        if last is None:
            return
        for name, field in _GAUGES.items():
            self._block.set_gauge(BACKUP.index(name), float(getattr(last.result, field) or 0))
        now = self._clock.wall_ns() / NS_PER_SECOND
        age = -1.0 if last.good_at is None else max(0.0, now - last.good_at)
        self._block.set_gauge(BACKUP.index("drill_last_age_seconds"), age)
        self._block.set_gauge(BACKUP.index("drill_failing"), float(last.result.outcome != "good"))


class DrillRun(threading.Thread):
    """One drill."""

    def __init__(self, place: DrillPlace, clock: Clock, log: logging.Logger) -> None:
        super().__init__(name="drill", daemon=True)
        self._place, self._clock, self._log = place, clock, log
        self._waiting = threading.Event()
        self.result: DrillResult | None = None
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            self.result = drill(self._place, Random(), self._clock, self._log, self._turn)
        except RefusedError:
            pass
        except (TrinityError, psycopg.Error, OSError) as error:
            self.failure = error
        except BaseException as error:  # noqa: BLE001 - the border of the thread: who looks at it raises it
            self.failure = RuntimeError(f"{type(error).__name__}: {error}")

    def _turn(self) -> None:
        self._waiting.wait(_TURN_SECONDS)
