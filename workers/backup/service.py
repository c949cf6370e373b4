"""The thread that backs up: this node's own files always; the database's base and log while it is the active node.

    every turn      a mark and what has arrived of the log go into the target
    when due        a base, on a thread of its own (base_run.py); the node's bundle; what may go, goes
    target away     told once; the log waits in the scratch, then in the server; what was missed is shipped afterwards
    no database     bundles are made all the same: then the node's files are all there is of what was answered

Rules: the lock of the database's session makes one node the active one, and ends with it. Whatever fails is counted by
its step, told once a change, and tried again with the next turn. Nothing is believed of an earlier process's scratch.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import NamedTuple

import psycopg

from trinity.backup.archive import packed
from trinity.backup.base import (
    FIRST_INCREMENTAL_VERSION,
    Origin,
    ServerFacts,
    forget_manifests,
    has_manifest,
    read_facts,
)
from trinity.backup.bundle import files_of
from trinity.backup.catalog import BackupCatalog, Base, read_catalog
from trinity.backup.crypt import seal
from trinity.backup.layout import BundleName
from trinity.backup.retention import BasePolicy, due_base, obsolete
from trinity.backup.target import BackupTarget, recognise
from trinity.backup.wal import LogMark, LogStream, ensure_slot, set_mark
from trinity.clock import NS_PER_SECOND, Clock
from trinity.config import Config
from trinity.errors import BackupError, BackupToolError, TrinityError
from trinity.memory.control import ProcessBlock
from trinity.observe.log import Outage
from trinity.observe.metrics import BACKUP
from trinity.store.connect import AnyConnection, connect
from trinity.store.session_thread import SessionThread
from workers.backup.base_run import BaseRun
from workers.backup.drills import Drills
from workers.backup.state import BackupState, keep_state, load_state

STATEMENT_SECONDS = 60
_LOOK_SECONDS = 0.5
# The target is looked through, and cleared, this often; and after each base.
_SURVEY_SECONDS = 3600
# A base that failed is tried again, whole; a full target does not become emptier by trying at once.
_AGAIN_SECONDS = 300
# Whether a drill is due, and how old the last good one is.
_DRILL_LOOK_SECONDS = 60
_DAY = 86_400


class BackupPlace(NamedTuple):
    """What is backed up, and where to."""

    origin: Origin
    target: BackupTarget
    address: str
    node: str
    config: Config


class BackupService(SessionThread):
    """`is_active`, and the moments that the gauges are made of, are read by the process's loop."""

    def __init__(self, place: BackupPlace, block: ProcessBlock, clock: Clock, log: logging.Logger) -> None:
        super().__init__("backup", place.origin.url, clock)
        self._place, self._block, self._log = place, block, log
        self._settings = place.config.backup
        self._policy = BasePolicy(
            self._settings.base_hours * 3600, self._settings.full_days * _DAY, self._settings.keep_days
        )
        self._outages = {
            step: Outage(log, logging.WARNING, f"backups fail: {step}", f"backups work again: {step}")
            for step in ("database", "target", "log", "base", "bundle", "retention", "drill")
        }
        self._state: BackupState = load_state(place.origin.scratch, place.address)
        self._stream: LogStream | None = None
        self._facts: ServerFacts | None = None
        self._run_of_base: BaseRun | None = None
        self._drills = Drills(place.origin, place.target, self._settings.drill_identity, block, clock, log)
        self._next_turn_ns = self._next_bundle_ns = self._next_survey_ns = self._next_drill_ns = 0
        self.is_active = self.is_connected = False
        self.log_moment = 0  # committed up to here: in the target
        self.base_moment = 0  # the newest base
        self.bundle_moment = 0
        self.base_failed = False

    def _live_one_connection(self) -> None:
        try:
            with connect(self._url, "backup", statement_seconds=STATEMENT_SECONDS, autocommit=True) as connection:
                self._watch.guard(connection)
                self._facts = read_facts(connection)
                self._check(self._facts)
                self.is_connected = True
                self._outages["database"].up()
                self._on_good()
                while not self._stopping.wait(_LOOK_SECONDS):
                    self._turn(connection)
        except (psycopg.Error, TrinityError, OSError) as error:
            self._fail("database", error)
        finally:
            self.is_active = self.is_connected = False
            self._end_stream()
        self._bundle_if_due(None)

    def _check(self, facts: ServerFacts) -> None:
        if not facts.may_replicate:
            raise BackupToolError("pg_receivewal", "the database's role may not: ALTER ROLE ... REPLICATION")

    def _turn(self, connection: AnyConnection) -> None:
        if not self.is_active:
            row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended('trinity.backup', 0))").fetchone()
            self.is_active = row == (True,)
            if self.is_active:
                self._log.info("this node backs the database up")
                self._next_survey_ns = 0
        if self.is_active and self._is_due("_next_turn_ns", self._settings.ship_seconds):
            with self._step("log"):
                self._ship(connection)
            with self._step("base"):
                self._look_at_base()
            if self._stream is not None and self._is_due("_next_survey_ns", _SURVEY_SECONDS):
                with self._step("retention"):
                    self._survey()
            if self._is_due("_next_drill_ns", _DRILL_LOOK_SECONDS):
                with self._step("drill"):
                    self._drills.look(connection, may_begin=self.base_moment > 0)
        self._bundle_if_due(connection)

    def _ship(self, connection: AnyConnection) -> None:
        facts = self._facts
        assert facts is not None, "there is a connection"
        self._recognise(facts.system)
        if self._stream is None:
            catalog = self._catalog()
            begin_lsn, is_new = ensure_slot(connection, facts)
            if is_new:
                self._log.warning(
                    "the log begins anew: a base is taken", extra={"fields": {"timeline": facts.timeline}}
                )
            moment = max((piece.moment for piece in catalog.pieces if piece.timeline == facts.timeline), default=0)
            origin = self._place.origin
            self._stream = LogStream(
                origin.url, facts, begin_lsn, origin.scratch, self._place.target, list(origin.recipients), moment
            )
            self.log_moment = moment
        try:
            if self._stream.waiting_bytes() > self._settings.scratch_bytes_max:
                self._stream.pause()
            self._stream.turn(connection)
        except BackupToolError:
            self._end_stream()  # the next turn begins where the slot is
            raise
        finally:
            if self._stream is not None:
                self._show_stream(self._stream)

    def _show_stream(self, stream: LogStream) -> None:
        self._block.count(BACKUP.index("backup_wal_pieces_total"), stream.take_pieces())
        self._block.set_gauge(BACKUP.index("backup_waiting_bytes"), float(stream.waiting_bytes()))
        self.log_moment = stream.moment

    def _look_at_base(self) -> None:
        run = self._run_of_base
        if run is None or not run.is_over:
            return
        self._run_of_base, self._next_survey_ns = None, 0
        self.base_failed = run.failure is not None
        if run.failure is not None:
            self._next_survey_ns = self._clock.monotonic_ns() + _AGAIN_SECONDS * NS_PER_SECOND
            raise run.failure
        base = run.base
        assert base is not None, "it did not fail"
        self._block.count(BACKUP.index("backup_bases_total", base.kind))
        self._block.set_gauge(BACKUP.index("backup_base_seconds"), run.seconds)
        self._block.set_gauge(BACKUP.index("backup_base_bytes"), float(base.stored_bytes))
        fields = {"base": base.label, "stored_bytes": base.stored_bytes, "seconds": round(run.seconds, 1)}
        self._log.info("a base backup was taken", extra={"fields": fields})

    def _survey(self) -> None:
        """Look the target through: what is due, what may go."""
        facts, now = self._facts, self._now()
        assert facts is not None, "there is a connection"
        catalog = self._catalog()
        bases = [base for base in catalog.bases if base.timeline == facts.timeline]
        self.base_moment = bases[-1].ended_at if bases else 0
        window = catalog.window()
        self._block.set_gauge(
            BACKUP.index("backup_restorable_timestamp_seconds"), float(window.newest if window else 0)
        )
        stored = sum(base.stored_bytes for base in catalog.bases) + catalog.wal_bytes
        self._block.set_gauge(BACKUP.index("backup_stored_bytes"), float(stored))
        origin = self._place.origin
        if self._run_of_base is None:
            due = due_base(catalog, facts.timeline, now, self._policy, self._may_build_on)
            if due is not None:
                self._run_of_base = BaseRun(origin, self._place.target, facts, now, due.parent, self._clock)
                self._run_of_base.start()
        # A base that is due soon is not waited for until the next look.
        due_at = self.base_moment + self._policy.base_seconds
        seconds = min(_SURVEY_SECONDS, max(due_at - now, 1)) if self.base_moment else _SURVEY_SECONDS
        self._next_survey_ns = self._clock.monotonic_ns() + seconds * NS_PER_SECOND
        under_way = self._run_of_base.label if self._run_of_base is not None else ""
        for name in obsolete(catalog, now, self._settings.keep_days, under_way):
            self._place.target.delete(name)
        self._place.target.delete_drafts(now - _DAY)
        forget_manifests(origin.scratch, catalog.bases)

    def _may_build_on(self, base: Base) -> bool:
        facts = self._facts
        is_able = facts is not None and facts.summarizes and facts.version >= FIRST_INCREMENTAL_VERSION
        return is_able and has_manifest(self._place.origin.scratch, base) and not self.base_failed

    def _bundle_if_due(self, connection: AnyConnection | None) -> None:
        if not self._state.system or not self._is_due("_next_bundle_ns", self._settings.bundle_seconds):
            return
        place = self._place
        with self._step("bundle"):
            self._recognise(self._state.system)
            # The files first, then the log's position: the archive waits in the pipe until it is read.
            mark = LogMark(0, self._now())
            draft = place.origin.scratch / "bundle"
            with packed(files_of(place.config.node.data_dir, place.config)) as content, draft.open("wb") as file:
                while chunk := content.read(1024 * 1024):
                    file.write(chunk)
            if connection is not None:
                mark = set_mark(connection)
                mark = mark._replace(moment=mark.moment + 2)  # the mark itself is before
            name = BundleName(self._state.system, place.node, mark.moment, mark.lsn).name
            with draft.open("rb") as file:
                place.target.write(name, lambda sink: seal(name, file, sink, place.origin.recipients))
            draft.unlink()
            self.bundle_moment = self._now()
            self._block.count(BACKUP.index("backup_bundles_total"))

    def _recognise(self, system: str) -> None:
        """The target is the one that it was; BackupTargetError."""
        found = recognise(self._place.target, self._state.target or None)
        state = BackupState(self._place.address, found, system)
        if state != self._state:
            keep_state(self._place.origin.scratch, state)
            self._state = state

    def _catalog(self) -> BackupCatalog:
        return read_catalog(self._place.target, self._state.system)

    @contextlib.contextmanager
    def _step(self, step: str) -> Iterator[None]:
        """A part of the turn, whose failure is its own; that of the connection ends the session."""
        try:
            yield
        except (BackupError, OSError) as error:
            self._fail(step, error)
        except psycopg.Error as error:
            self._fail(step, error)
            if step in ("log", "bundle"):
                raise
        else:
            self._outages[step].up()

    def _fail(self, step: str, error: Exception) -> None:
        self._block.count(BACKUP.index("backup_failures_total", step))
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if step == "database":
            self._outages[step].down(reason, self._clock.monotonic_ns())
        else:
            self._outages[step].fault(reason)

    def _is_due(self, name: str, seconds: float) -> bool:
        now_ns = self._clock.monotonic_ns()
        if now_ns < getattr(self, name):
            return False
        setattr(self, name, now_ns + int(seconds * NS_PER_SECOND))
        return True

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _now(self) -> int:
        return self._clock.wall_ns() // NS_PER_SECOND
