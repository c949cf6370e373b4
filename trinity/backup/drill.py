"""The drill: a backup is restored into a throw-away place and compared with the live database, to the transaction.

    commit      a row of our own in the live database; how long until it can be restored is the RPO, as measured
    moment      any second that the target promises, by chance
    restore     as after a fire, from the target alone; from its beginning to the first answer is the RTO, as measured
    compare     all sums of the ledger (comparison.py)
    remove      the throw-away place

Rules: the live database is read, and gets the drill's row; nothing else of the node is touched. One drill a database at
a time, whichever node or command it is of. Whatever goes wrong is the drill's result, and not an error: a backup that
cannot be restored is what drills are for. What `turn` raises ends it, and its place is removed all the same.
"""

import contextlib
import datetime
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import psycopg
import pyrage

from trinity.backup.catalog import BackupCatalog, Window, read_catalog
from trinity.backup.comparison import ComparisonResult, compare, known_to
from trinity.backup.drill_rows import DrillResult, Outcome, begin_row, end_row
from trinity.backup.restore import RestoredCluster, restore_into
from trinity.backup.target import BackupTarget
from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import RefusedError, RestoreError, StoreUnavailableError, TrinityError
from trinity.store import queries
from trinity.store.connect import AnyConnection, connect
from trinity.store.embedded import Server
from trinity.store.settings import SETTINGS

# What is promised (docs/backup.md): a commit that cannot be restored after this time is a backup that does not work.
RPO_SECONDS_MAX = 300.0
# Between two looks at what is in the target: a listing of some thousand names.
_LOOK_SECONDS = 1.0
# It is read once and thrown away. Nothing may be written by the server itself: its transactions would look like ours.
_THROW_AWAY = dict(SETTINGS) | {
    "autovacuum": "off", "fsync": "off", "full_page_writes": "off", "summarize_wal": "off", "max_connections": "10",
}  # fmt: skip
_FOLDER = "drill"

Turn = Callable[[], None]


class DrillPlace(NamedTuple):
    """What a drill is made with."""

    live_url: str
    target: BackupTarget
    identities: Sequence[pyrage.x25519.Identity]
    scratch: Path  # with room for the whole database


def drill(place: DrillPlace, random: Random, clock: Clock, log: logging.Logger, turn: Turn) -> DrillResult:
    """Drill now. `turn` is called some ten times a second. RefusedError when another one runs."""
    with connect(place.live_url, "drill", autocommit=True) as live:
        begun = begin_row(live)
        if begun is None:
            raise RefusedError("drill", "another one of this database runs")
        number, committed_at = begun
        try:
            result = _Drill(place, live, random, clock, log, turn).run(committed_at)
        except (TrinityError, psycopg.Error, OSError) as error:
            result = DrillResult("failed", f"{type(error).__name__}: {' '.join(str(error).split())}")
        end_row(live, number, result)
    return result


def windows_of(catalog: BackupCatalog) -> list[Window]:
    """What can be restored of the live timeline, without the gaps: windows in order, none touches another."""
    found = sorted(
        window for base in catalog.bases if base.timeline == catalog.timeline and (window := catalog.window_of(base))
    )
    joined: list[Window] = []
    for window in found:
        if joined and window.earliest <= joined[-1].newest + 1:
            joined[-1] = Window(joined[-1].earliest, max(joined[-1].newest, window.newest))
        else:
            joined.append(window)
    return joined


def choose_moment(windows: Sequence[Window], now: int, random: Random) -> int:
    """Any second of the past that can be restored, each as likely as the others; RestoreError: there is none."""
    past = [window for window in windows if window.earliest <= now]
    seconds = [min(window.newest, now) - window.earliest + 1 for window in past]
    if not seconds:
        raise RestoreError("there is nothing to restore in the target: no base with the log that it needs")
    at = random.randrange(sum(seconds))
    for window, length in zip(past, seconds, strict=True):
        if at < length:
            return window.earliest + at
        at -= length
    raise AssertionError("a number below the sum lies in one of them")


class _Drill:
    """One drill."""

    def __init__(
        self, place: DrillPlace, live: AnyConnection, random: Random, clock: Clock, log: logging.Logger, turn: Turn
    ) -> None:
        self._place, self._live, self._random = place, live, random
        self._clock, self._log, self._turn = clock, log, turn
        self._known = DrillResult("failed")

    def run(self, committed_at: float) -> DrillResult:
        """What came of it, with all that was measured until then."""
        try:
            with _throw_away(self._place.scratch / _FOLDER) as folder:
                return self._run(committed_at, folder)
        except (TrinityError, psycopg.Error, OSError) as error:
            return self._known._replace(detail=f"{type(error).__name__}: {' '.join(str(error).split())}")

    def _run(self, committed_at: float, folder: Path) -> DrillResult:
        catalog = self._catalog()
        now = self._now()
        windows = windows_of(catalog)
        self._known = self._known._replace(
            base_age_seconds=max((now - base.ended_at for base in catalog.bases[-1:]), default=None),
            lag_seconds=max(0.0, now - windows[-1].newest) if windows else None,
        )
        catalog = self._wait_for(committed_at, catalog)
        moment = choose_moment(windows_of(catalog), int(self._now()), self._random)
        self._known = self._known._replace(restored_to=moment)
        self._log.info("drill", extra={"fields": {"restores": _text(moment)}})
        began_ns = self._clock.monotonic_ns()
        restored = restore_into(
            folder, self._place.target, catalog, moment, self._place.identities, self._clock, self._log, self._turn
        )
        found = self._compare(restored, began_ns)
        outcome: Outcome = "different" if found.differences else "good"
        detail = "; ".join(map(str, found.shown))
        return self._known._replace(
            outcome=outcome, detail=detail, requests=found.requests, differences=found.differences
        )

    def _now(self) -> float:
        return self._clock.wall_ns() / NS_PER_SECOND

    def _catalog(self) -> BackupCatalog:
        row = self._live.execute(queries.load("drill.identity")).fetchone()
        assert row is not None, "a row of values"
        return read_catalog(self._place.target, str(row[0]))

    def _wait_for(self, committed_at: float, catalog: BackupCatalog) -> BackupCatalog:
        """Until what was committed then can be restored; the target's content by then."""
        began_ns = self._clock.monotonic_ns()
        look_ns = began_ns
        while True:
            passed = (self._clock.monotonic_ns() - began_ns) / NS_PER_SECOND
            windows = windows_of(catalog)
            if windows and windows[-1].newest >= committed_at:
                self._known = self._known._replace(rpo_seconds=round(passed, 3))
                return catalog
            if passed > RPO_SECONDS_MAX:
                raise RestoreError(f"what was committed {passed:.0f} s ago cannot be restored yet: is it backed up?")
            self._turn()
            if self._clock.monotonic_ns() >= look_ns + _LOOK_SECONDS * NS_PER_SECOND:
                catalog, look_ns = self._catalog(), self._clock.monotonic_ns()

    def _compare(self, restored: RestoredCluster, began_ns: int) -> ComparisonResult:
        with (
            _running(restored, self._log, self._turn),
            connect(restored.url, "drill restored", statement_seconds=0) as other,
        ):
            known = known_to(other)
            rto = (self._clock.monotonic_ns() - began_ns) / NS_PER_SECOND
            self._known = self._known._replace(rto_seconds=round(rto, 3))
            with connect(self._place.live_url, "drill live", statement_seconds=0) as live:
                today = datetime.datetime.fromtimestamp(self._now(), datetime.UTC)
                return compare(live, other, known, today.date())


def _text(moment: int) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).isoformat()


@contextlib.contextmanager
def _throw_away(folder: Path) -> Iterator[Path]:
    """An empty folder; what a killed drill left is removed first, and all of it at the end."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _running(restored: RestoredCluster, log: logging.Logger, turn: Turn) -> Iterator[None]:
    """Its server, for that long."""
    server = Server(restored.data_dir, log, _THROW_AWAY)
    server.start(turn)
    try:
        while not server.answers():
            if server.exit_code() is not None:
                raise StoreUnavailableError(f"the restored database does not start: {server.failure_message()}")
            server.pass_on_log(0)
            turn()
        yield
    finally:
        while server.exit_code() is None:
            server.shut_down()
            server.pass_on_log(100)
