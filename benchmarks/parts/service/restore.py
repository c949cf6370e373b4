"""A fire: a database full of usage is backed up, killed, removed from the disk and restored from the backup alone.

    base       one full base backup: seconds, and bytes in the target
    log        a day more of requests behind it, and a commit some times a second, until the end
    fire       SIGKILL for the server, and its folder is removed; nobody ships what was on its way
    restore    into an empty folder, to the newest moment: seconds to the first answer, and of each step
    loss       commits that were told to be done and are not there: their number, and the age of the oldest of them

Rules: on one disk, so reading and writing share it. The live database makes room for the restored one before that is
begun; there is room for both a backup and a database, or nothing is measured. What was restored is counted.
"""

import logging
import os
import shutil
import signal
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyrage

from benchmarks.errors import PeerError
from benchmarks.progress import Progress
from benchmarks.servers.usage_rows import fill, repeat_day
from trinity.backup.base import Origin, read_facts, take_base
from trinity.backup.catalog import read_catalog
from trinity.backup.restore import RestoredCluster, restore_into
from trinity.backup.target import DirectoryTarget, recognise
from trinity.backup.wal import LogStream, ensure_slot
from trinity.clock import NS_PER_SECOND, Clock
from trinity.store.connect import connect
from trinity.store.embedded import Server, embedded_url
from trinity.store.migrate import ensure

DAYS = 93
_KEYS = 1_000
# usage_runs with its indexes and the sums: measured, 198.
_BYTES_A_ROW = 200
# A base in the target, beside one database; the log that a server keeps (max_wal_size).
_SHARE_SEALED, _LOG_BYTES = 0.5, 5 << 30
# As often as BACKUP_SHIP_SECONDS allows; its default is 10, and what a fire costs is so much more with it.
_SHIP_SECONDS = 1.0
_COMMIT_SECONDS = 0.05
_START_SECONDS_MAX = 600.0
_TURN_SECONDS = 0.05
_LOG = logging.getLogger(__name__)


def measure_restore(folder: Path, rows: int, seconds: float, clock: Clock, progress: Progress) -> dict[str, Any]:
    """The whole; everything is made below `folder` and removed at the end. `seconds` of commits before the fire."""
    _check_room(folder, rows)
    with tempfile.TemporaryDirectory(prefix="restore-", dir=folder) as name:
        return _Fire(Path(name), clock, progress).measure(rows, seconds)


class _Fire:
    """One fire, from the first row to the last count."""

    def __init__(self, place: Path, clock: Clock, progress: Progress) -> None:
        self._clock, self._progress = clock, progress
        self._live, self._scratch, self._away = place / "live", place / "scratch", place / "restored"
        target = place / "target"
        for made in (self._live, self._scratch, target):
            made.mkdir()
        self._target = DirectoryTarget(target)
        self._identity = pyrage.x25519.Identity.generate()
        self._recipients = [self._identity.to_public()]

    def measure(self, rows: int, seconds: float) -> dict[str, Any]:
        server = _start(self._live)
        url = embedded_url(self._live)
        ensure(url)
        made, size = self._fill(url, rows)
        with connect(url, "bench", statement_seconds=0, autocommit=True) as connection:
            facts = read_facts(connection)
            recognise(self._target, None)
            stream = LogStream(
                url, facts, ensure_slot(connection, facts)[0], self._scratch, self._target, self._recipients, 0
            )
            shipping = _Shipping(url, stream)
            shipping.start()
            self._progress.step("base backup")
            began_ns = self._clock.monotonic_ns()
            origin = Origin(url, True, self._scratch, self._recipients)
            base = take_base(origin, self._target, connection, facts, self._clock.wall_ns() // NS_PER_SECOND, None)
            base_seconds = self._seconds_since(began_ns)
        self._progress.step(f"base of {base.data_bytes:,} bytes took {base_seconds:.0f} s; a day more behind it")
        with connect(url, "bench", statement_seconds=0) as connection:
            made += repeat_day(connection, self._end)
        commits = _Commits(url, self._clock)
        commits.start()
        threading.Event().wait(seconds)
        fire_ns = self._clock.wall_ns()
        _kill(server)
        commits.stop()
        shipping.stop()
        shutil.rmtree(self._live)
        self._progress.step("fire; restore")
        found = self._restore(made, commits, fire_ns)
        return {
            "rows": made, "database_bytes": size, "base_seconds": round(base_seconds, 1),
            "base_sealed_bytes": base.stored_bytes, **found,
        }  # fmt: skip

    def _fill(self, url: str, rows: int) -> tuple[int, int]:
        self._end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        made = 0
        with psycopg.connect(url) as connection:
            connection.execute("SET timezone = 'UTC'")
            for number, made in enumerate(fill(connection, rows, DAYS, _KEYS, self._end)):
                if number % 10 == 0:
                    self._progress.step(f"day {number + 1}/{DAYS}: {made:,} rows")
            connection.execute("CREATE TABLE bench_commits (at_ns bigint NOT NULL)")
            connection.commit()
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        return made, int(row[0])

    def _restore(self, made: int, commits: "_Commits", fire_ns: int) -> dict[str, Any]:
        began_ns = self._clock.monotonic_ns()
        catalog = read_catalog(self._target)
        log_bytes = catalog.wal_bytes
        restored = restore_into(self._away, self._target, catalog, None, [self._identity], self._clock, _LOG, _wait)
        server = _start(restored.data_dir)
        try:
            with connect(restored.url, "bench", statement_seconds=0) as connection:
                connection.execute("SELECT sum(requests) FROM usage_day_all").fetchone()
                seconds = self._seconds_since(began_ns)
                self._progress.step(f"answers after {seconds:.0f} s: {_rounded(restored)}; counting")
                row = connection.execute("SELECT sum(rows)::bigint FROM usage_runs").fetchone()
                there = {at for (at,) in connection.execute("SELECT at_ns FROM bench_commits").fetchall()}
        finally:
            _stop(server)
        assert row is not None
        if row[0] != made:
            raise PeerError("restore", f"{row[0]:,} rows of {made:,} are there")
        lost = [at for at in commits.done if at not in there]
        return {
            "log_sealed_bytes": log_bytes, "restore_seconds": round(seconds, 1), "steps_seconds": _rounded(restored),
            "commits": len(commits.done), "commits_lost": len(lost),
            "rpo_seconds": round((fire_ns - min(lost)) / NS_PER_SECOND, 2) if lost else 0.0,
        }  # fmt: skip

    def _seconds_since(self, began_ns: int) -> float:
        return (self._clock.monotonic_ns() - began_ns) / NS_PER_SECOND


class _Shipping(threading.Thread):
    """The log goes into the target, until the server is gone."""

    def __init__(self, url: str, stream: LogStream) -> None:
        super().__init__(daemon=True)
        self._url, self._stream = url, stream
        self._stopping = threading.Event()

    def run(self) -> None:
        try:
            with connect(self._url, "bench shipping", autocommit=True) as connection:
                while not self._stopping.wait(_SHIP_SECONDS):
                    self._stream.turn(connection)
        except psycopg.Error:
            pass  # the fire

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        self._stream.close()


class _Commits(threading.Thread):
    """A customer who keeps account of what was told to be done."""

    def __init__(self, url: str, clock: Clock) -> None:
        super().__init__(daemon=True)
        self._url, self._clock = url, clock
        self._stopping = threading.Event()
        self.done: list[int] = []

    def run(self) -> None:
        try:
            with connect(self._url, "bench commits", autocommit=True) as connection:
                while not self._stopping.wait(_COMMIT_SECONDS):
                    at_ns = self._clock.wall_ns()
                    connection.execute("INSERT INTO bench_commits VALUES (%s)", [at_ns])
                    self.done.append(at_ns)
        except psycopg.Error:
            pass  # the fire

    def stop(self) -> None:
        self._stopping.set()
        self.join()


def _rounded(restored: RestoredCluster) -> dict[str, float]:
    return {step: round(seconds, 1) for step, seconds in restored.seconds.items()}


def _wait() -> None:
    threading.Event().wait(_TURN_SECONDS)


def _start(data_dir: Path) -> Server:
    server = Server(data_dir, _LOG)
    server.start(_wait)
    for _ in range(round(_START_SECONDS_MAX / _TURN_SECONDS)):
        if server.answers():
            return server
        if server.exit_code() is not None:
            break
        server.pass_on_log(0)
        _wait()
    raise PeerError("postgresql", f"it does not answer: {server.failure_message()}")


def _stop(server: Server) -> None:
    server.shut_down()
    while server.exit_code() is None:
        server.pass_on_log(100)


def _kill(server: Server) -> None:
    os.kill(server.pid, signal.SIGKILL)
    while server.exit_code() is None:
        server.pass_on_log(100)


def _check_room(place: Path, rows: int) -> None:
    """PeerError when the disk has no room for so many."""
    free = shutil.disk_usage(place).free
    wanted = int(rows * _BYTES_A_ROW * (1 + _SHARE_SEALED)) + _LOG_BYTES
    if free < wanted:
        raise PeerError("disk", f"{free >> 30} GiB are free, {wanted >> 30} are wanted: ask for fewer --restore-rows")
