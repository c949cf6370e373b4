"""From a target back to a database: fetched, verified, recovered to a moment, promoted and stopped.

    room       the disk has room for all of it, before anything is fetched
    fetch      the bases of the chain, each unpacked and held against its manifest (manifest.py)
    combine    incremental ones into one folder (pg_combinebackup)
    log        all pieces of the log that are needed, so that a missing one is known before a server starts
    replay     PostgreSQL recovers to the moment and promotes itself to a new timeline; then it is stopped
    name       the folder gets its name

Rules: everything happens in `<folder>/restoring`; `<folder>/database` must not be there, and is there in the end or not
at all. Nothing is written into the restored database. Any error leaves what was there before untouched.
"""

import contextlib
import datetime
import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import psycopg
import pyrage

from trinity.backup.archive import unpack
from trinity.backup.catalog import BackupCatalog, Base, RestorePlan, read_catalog, segments_of
from trinity.backup.crypt import open_bytes, opened
from trinity.backup.layout import WalPiece, base_place, history_name
from trinity.backup.manifest import NAME as MANIFEST
from trinity.backup.manifest import Manifest, check_files, read_manifest
from trinity.backup.target import BackupTarget
from trinity.backup.tools import run_tool
from trinity.clock import NS_PER_SECOND, Clock
from trinity.errors import BackupDamagedError, BackupTargetError, RestoreError, StoreUnavailableError
from trinity.files import sync_folder
from trinity.store.account import account_for
from trinity.store.connect import connect
from trinity.store.embedded import NAME, VERSION, Server, embedded_url
from trinity.store.settings import SETTINGS

_CHUNK = 1024 * 1024
# Room that the server needs beside what is restored: its first segments of the new timeline, temporary files.
_SPARE_BYTES = 256 * 1024**2
# The socket's folder lets nobody else in.
_HBA = "local all all trust\nlocal replication all trust\n"
# While it recovers nobody may connect and nothing is done beside.
_RECOVERY = {
    "restore_command": "/bin/false",  # one must be set; the whole log lies where the server looks next
    "recovery_target_timeline": "current",
    "recovery_target_action": "promote",
    "hot_standby": "off",
    "autovacuum": "off",
    "max_wal_size": "16GB",
}
_TURN_SECONDS = 0.05
_CLEAR_TURNS = 200  # 10 s: PostgreSQL's processes end within one of them once their postmaster is gone
# Pieces are joined once a segment; three in the time of one reading would be a fault.
_LOG_TRIES = 3

Turn = Callable[[], None]


@dataclass(frozen=True)
class RestoredCluster:
    """A restored database that does not run; `Server(data_dir, log)` starts it (trinity/store/embedded.py)."""

    data_dir: Path
    base: Base
    to_time: int | None  # as asked for
    recovered_to: datetime.datetime | None  # the newest commit that it has; None: none behind the base
    timeline: int
    bytes: int  # of its files, without the log
    seconds: dict[str, float] = field(default_factory=dict)  # of fetch, combine, log, replay

    @property
    def url(self) -> str:
        """Where it answers, once it was started."""
        return _url_of(self.data_dir, self.base)


def restore_into(
    folder: Path,
    target: BackupTarget,
    catalog: BackupCatalog,
    to_time: int | None,
    identities: Sequence[pyrage.x25519.Identity],
    clock: Clock,
    log: logging.Logger,
    turn: Turn | None = None,
    settings: Mapping[str, str] = SETTINGS,
) -> RestoredCluster:
    """Restore the moment `to_time` (seconds since 1970; None: the newest) into `<folder>/database`.

    `settings` are those that the server recovers with.
    `turn` is called some ten times a second while the server recovers; what it raises ends the restore.
    Raises RestoreError, BackupDamagedError, BackupTargetError, BackupToolError, StoreUnavailableError.
    """
    plan = catalog.plan(to_time)
    major = str(plan.base.server_version // 10_000)
    if major != VERSION:
        reason = f"the backup is of PostgreSQL {major}, and the programs here are of {VERSION}"
        raise RestoreError(f"{reason}: install the version of Trinity that has it")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder / "database").exists():
        raise RestoreError(f"{folder / 'database'} is there: restore into another folder, or move it away first")
    with _staging(folder) as staging:
        _check_room(staging, plan)
        return _Restore(staging, folder, target, catalog, plan, identities, clock, log, turn or _wait, settings).run()


def verify_plan(
    folder: Path,
    target: BackupTarget,
    catalog: BackupCatalog,
    plan: RestorePlan,
    identities: Sequence[pyrage.x25519.Identity],
    clock: Clock,
    log: logging.Logger,
) -> dict[str, float]:
    """All that a restore needs is there, opens, and is what it should be: fetched into `folder`, and thrown away.

    The seconds of each step; BackupDamagedError, BackupTargetError. Only a restore, or a drill, proves that it starts.
    """
    with _staging(folder) as staging:
        _check_room(staging, plan)
        return _Restore(staging, folder, target, catalog, plan, identities, clock, log, _wait, SETTINGS).fetch()


class _Restore:
    """One restore; its steps in their order."""

    def __init__(
        self,
        staging: Path,
        folder: Path,
        target: BackupTarget,
        catalog: BackupCatalog,
        plan: RestorePlan,
        identities: Sequence[pyrage.x25519.Identity],
        clock: Clock,
        log: logging.Logger,
        turn: Turn,
        settings: Mapping[str, str],
    ) -> None:
        self._staging, self._folder, self._target = staging, folder, target
        self._system, self._plan, self._identities = catalog.system, plan, identities
        self._clock, self._log, self._turn = clock, log, turn
        self._settings = dict(settings) | _RECOVERY
        self._seconds: dict[str, float] = {}
        self._cluster = staging / "database" / "cluster"

    def fetch(self) -> dict[str, float]:
        """Everything but the server."""
        self._cluster.parent.mkdir(mode=0o700)
        with self._step("fetch"):
            unpacked = [self._fetch(base) for base in self._plan.chain]
        with self._step("combine"):
            self._combine(unpacked)
        with self._step("log"):
            self._fetch_log()
        return self._seconds

    def run(self) -> RestoredCluster:
        self.fetch()
        self._prepare()
        size = sum(path.stat().st_size for path in self._cluster.rglob("*") if path.is_file())
        with self._step("replay"):
            recovered_to, timeline = self._recover()
        self._cluster.parent.rename(self._folder / "database")
        sync_folder(self._folder)
        plan = self._plan
        return RestoredCluster(self._folder, plan.base, plan.to_time, recovered_to, timeline, size, self._seconds)

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        began_ns = self._clock.monotonic_ns()
        yield
        self._seconds[name] = (self._clock.monotonic_ns() - began_ns) / NS_PER_SECOND
        self._log.info("restore", extra={"fields": {"done": name, "seconds": round(self._seconds[name], 3)}})

    def _fetch(self, base: Base) -> Path:
        place = self._staging / base.label
        name = f"{base_place(base.system, base.label)}/data.age"
        with self._target.read(name) as source, opened(name, source, self._identities) as content:
            unpack(name, content, place)
        manifest = _manifest_in(name, place)
        facts = (manifest.system, manifest.timeline, manifest.start_lsn, manifest.end_lsn)
        if facts != (base.system, base.timeline, base.start_lsn, base.end_lsn):
            raise BackupDamagedError(name, "its manifest is of another backup than its description")
        check_files(name, manifest, place)
        return place

    def _combine(self, unpacked: Sequence[Path]) -> None:
        if len(unpacked) == 1:
            unpacked[0].rename(self._cluster)
            return
        folders = [str(place) for place in unpacked]
        # Whole files get a second name instead of a copy.
        run_tool(
            "pg_combinebackup", ["--link", "--output", str(self._cluster), *folders], self._staging / "combine.log"
        )
        for place in unpacked:
            shutil.rmtree(place)

    def _fetch_log(self) -> None:
        """As it is now: while the bases came, pieces were joined, and those that the plan named are gone."""
        place = self._cluster / "pg_wal"
        place.mkdir(mode=0o700, exist_ok=True)
        for left in reversed(range(_LOG_TRIES)):
            catalog = read_catalog(self._target, self._system)
            try:
                self._fetch_segments(catalog.pieces_for(self._plan.base, self._plan.to_time), place)
                self._fetch_histories(catalog.histories, place)
            except BackupTargetError:
                if not left:
                    raise
            else:
                return

    def _fetch_segments(self, pieces: Sequence[WalPiece], place: Path) -> None:
        for segment, parts in segments_of(pieces).items():
            with (place / segment).open("wb") as file:
                file.truncate(self._plan.base.segment_bytes)
                for piece in parts:
                    self._fetch_piece(piece, file)

    def _fetch_histories(self, timelines: Sequence[int], place: Path) -> None:
        for timeline in timelines:
            name = history_name(self._system, timeline)
            with self._target.read(name) as source:
                (place / f"{timeline:08X}.history").write_bytes(open_bytes(name, source, self._identities))

    def _fetch_piece(self, piece: WalPiece, file: BinaryIO) -> None:
        file.seek(piece.first)
        with self._target.read(piece.name) as source, opened(piece.name, source, self._identities) as content:
            written = 0
            while chunk := content.read(_CHUNK):
                written += len(chunk)
                if written > piece.end - piece.first:
                    break
                file.write(chunk)
        if written != piece.end - piece.first:
            raise BackupDamagedError(piece.name, f"it has not the {piece.end - piece.first} bytes of its name")

    def _prepare(self) -> None:
        """What the server that recovers needs beside the data."""
        if not self._plan.base.embedded:
            # Of another machine's server: libraries, paths and addresses that are not here.
            with contextlib.suppress(FileNotFoundError):
                (self._cluster / "postgresql.auto.conf").rename(self._cluster / "postgresql.auto.conf.before")
        for name, text in (("pg_hba.conf", _HBA), ("pg_ident.conf", ""), ("recovery.signal", "")):
            (self._cluster / name).write_text(text)
        account = account_for(self._cluster.parent, self._log)
        for path in (self._cluster.parent, *self._cluster.parent.rglob("*")):
            if account is not None:
                os.chown(path, *account, follow_symlinks=False)
            path.chmod(0o700 if path.is_dir() else 0o600)

    def _recover(self) -> tuple[datetime.datetime | None, int]:
        settings = dict(self._settings)
        if self._plan.to_time is not None:
            moment = datetime.datetime.fromtimestamp(self._plan.to_time, datetime.UTC)
            settings["recovery_target_time"] = moment.strftime("%Y-%m-%d %H:%M:%S+00")
        server = Server(self._staging, self._log, settings)
        try:
            server.start(self._turn)
            while not server.answers():
                if server.exit_code() is not None:
                    raise RestoreError(f"PostgreSQL did not recover: {server.failure_message()}")
                server.pass_on_log(0)
                self._turn()
            return self._ask(server)
        finally:
            _stop(server)

    def _ask(self, server: Server) -> tuple[datetime.datetime | None, int]:
        """What was recovered; StoreUnavailableError when the server does not answer after all."""
        try:
            with connect(_url_of(self._staging, self._plan.base), "restore", autocommit=True) as connection:
                row = connection.execute(
                    "SELECT pg_is_in_recovery(), pg_last_xact_replay_timestamp(), pg_walfile_name(pg_current_wal_lsn())"
                ).fetchone()
        except psycopg.Error as error:
            raise StoreUnavailableError(f"{error}: {server.failure_message()}") from None
        if row is None or row[0]:
            raise RestoreError("PostgreSQL answers, but was not promoted")
        return row[1], int(row[2][:8], 16)


def _wait() -> None:
    threading.Event().wait(_TURN_SECONDS)


def _url_of(data_dir: Path, base: Base) -> str:
    url = embedded_url(data_dir).replace(f"///{NAME}?", f"///{quote(base.database, safe='')}?")
    return url.removesuffix(f"user={NAME}") + f"user={quote(base.role, safe='')}"


def _stop(server: Server) -> None:
    try:
        while server.exit_code() is None:
            server.shut_down()
            server.pass_on_log(100)
    except AssertionError:
        return  # it was never started


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """An empty folder for one restore; it is gone afterwards, with what a failed or killed one left."""
    staging = folder / "restoring"
    with (folder / "restoring.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RestoreError(f"another restore into {folder} is under way") from None
        try:
            _clear(staging)
            staging.mkdir(mode=0o711)
            yield staging
        except OSError as error:
            raise RestoreError(f"{error.filename or folder}: {error.strerror or error}") from None
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            with contextlib.suppress(OSError):
                (folder / "restoring.lock").unlink()


def _clear(staging: Path) -> None:
    """What a killed restore left; its server ends with it, a moment later, and writes until then."""
    pause = threading.Event()
    for _ in range(_CLEAR_TURNS):
        shutil.rmtree(staging, ignore_errors=True)
        if not staging.exists():
            return
        pause.wait(_TURN_SECONDS)
    raise RestoreError(f"{staging} is of a former restore and cannot be removed: remove it, then try again")


def _check_room(staging: Path, plan: RestorePlan) -> None:
    free, needed = shutil.disk_usage(staging).free, plan.room_bytes + _SPARE_BYTES
    if free < needed:
        raise RestoreError(f"{staging.parent} has {free // 2**20} MB of room, and {needed // 2**20} MB are needed")


def _manifest_in(what: str, place: Path) -> Manifest:
    try:
        text = (place / MANIFEST).read_bytes()
    except FileNotFoundError:
        raise BackupDamagedError(what, f"it has no {MANIFEST}") from None
    return read_manifest(what, text)
