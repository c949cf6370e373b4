"""The log, all the time: pg_receivewal into a scratch folder, from there sealed into the target every few seconds.

    slot       the server keeps what is not in the target yet (a physical replication slot, advanced by us alone)
    receive    pg_receivewal begins in the slot's segment; what an earlier one left in the scratch is never trusted
    mark       a small commit every turn: a database at rest shows that its log still arrives, and how late
    ship       bytes that were received, a piece a turn; a segment that is full once more as one piece

Rules: everything that is not in the target can be received again, so a kill at any point loses nothing. A slot that
the server gave up (`max_slot_wal_keep_size`) is a gap: a new one is made and a new base is due. One turn waits for one
object at most a piece; nothing here sleeps.
"""

import contextlib
import shutil
from collections import deque
from pathlib import Path
from typing import NamedTuple

import pyrage

from trinity.backup.base import ServerFacts
from trinity.backup.crypt import seal
from trinity.backup.layout import WalPiece, history_name, lsn_text, parse_lsn, segment_name, segment_number
from trinity.backup.target import BackupTarget
from trinity.backup.tools import Tool, server_arguments
from trinity.errors import BackupToolError
from trinity.store.connect import AnyConnection

_PARTIAL = ".partial"
# A segment that fills slowly is one object again after so many pieces: a restore fetches each.
_PIECES_MAX = 30
# Marks that wait for their bytes to arrive in the target: an hour of turns of 5 s.
_MARKS_MAX = 720


class LogMark(NamedTuple):
    """A commit of ours: what was committed up to `moment` is in the log before `lsn`."""

    lsn: int
    moment: int


def slot_of(facts: ServerFacts) -> str:
    """The slot's name: of a server with several databases, each has its own."""
    return f"trinity_backup_{facts.database}"


def ensure_slot(connection: AnyConnection, facts: ServerFacts) -> tuple[int, bool]:
    """The position from which on the server keeps the log, and whether the slot is new: then there is a gap."""
    row = connection.execute(
        "SELECT restart_lsn::text, wal_status FROM pg_replication_slots WHERE slot_name = %s", [slot_of(facts)]
    ).fetchone()
    if row is not None and row[0] is not None and row[1] not in ("lost", None):
        return parse_lsn(row[0]), False
    if row is not None:
        connection.execute("SELECT pg_drop_replication_slot(%s)", [slot_of(facts)])
    made = connection.execute(
        "SELECT lsn::text FROM pg_create_physical_replication_slot(%s, true)", [slot_of(facts)]
    ).fetchone()
    assert made is not None, "a row"
    return parse_lsn(made[0]), True


def set_mark(connection: AnyConnection) -> LogMark:
    """Commit a mark of the server's present time."""
    row = connection.execute(
        "SELECT floor(extract(epoch FROM clock_timestamp()) - 0.001)::bigint FROM"
        " pg_logical_emit_message(true, 'trinity_backup', '')"
    ).fetchone()
    end = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None, "a row"
    assert end is not None, "a row"
    return LogMark(parse_lsn(end[0]), int(row[0]))


class LogStream:
    """The log of one server into one target; `turn` it, then `close` it."""

    def __init__(
        self,
        url: str,
        facts: ServerFacts,
        begin_lsn: int,
        scratch: Path,
        target: BackupTarget,
        recipients: list[pyrage.x25519.Recipient],
        moment: int,
    ) -> None:
        """`moment`: of the newest piece of this timeline that is in the target; 0: there is none."""
        self._facts, self._folder, self._target, self._recipients = facts, scratch / "wal", target, recipients
        self._application = f"log of {facts.database}"
        self._marks: deque[LogMark] = deque(maxlen=_MARKS_MAX)
        self.moment = moment  # committed up to here: in the target
        self._shipped: dict[str, list[WalPiece]] = {}
        self.shipped_lsn = begin_lsn
        self._pieces = 0
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(mode=0o700, parents=True)
        number = begin_lsn // facts.segment_bytes
        # pg_receivewal goes on where it finds an unfinished segment.
        (self._folder / f"{segment_name(facts.timeline, number, facts.segment_bytes)}{_PARTIAL}").touch(mode=0o600)
        server, secrets = server_arguments(url, self._application)
        arguments = ["--directory", str(self._folder), "--no-loop", "--no-sync", "--status-interval=1", *server]
        self._tool = Tool("pg_receivewal", arguments, secrets, scratch / "pg_receivewal.log")

    @property
    def pid(self) -> int:
        """Of the program that receives."""
        return self._tool.pid

    def waiting_bytes(self) -> int:
        """What is received and not in the target."""
        size = 0
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def turn(self, connection: AnyConnection) -> None:
        """LogMark, ship what has arrived, let the server forget it.

        BackupToolError: the log is no longer received; BackupTargetError; psycopg's errors.
        """
        self._marks.append(set_mark(connection))
        code = self._tool.exit_code()
        row = connection.execute(
            "SELECT write_lsn::text FROM pg_stat_replication WHERE application_name = %s",
            [f"trinity {self._application}"],
        ).fetchone()
        self.ship(parse_lsn(row[0]) if row is not None and row[0] is not None else 0)
        connection.execute(
            "SELECT pg_replication_slot_advance(slot_name, %(lsn)s::pg_lsn) FROM pg_replication_slots"
            " WHERE slot_name = %(slot)s AND restart_lsn < %(lsn)s::pg_lsn",
            {"lsn": lsn_text(self.shipped_lsn), "slot": slot_of(self._facts)},
        )
        if code is not None:
            raise BackupToolError("pg_receivewal", f"it ended with {code}: {self._tool.said()}")

    def ship(self, written_lsn: int) -> None:
        """Bring into the target what was received up to `written_lsn`."""
        size = self._facts.segment_bytes
        for path in sorted(self._folder.iterdir()):
            if path.suffix == ".history":
                self._ship_history(path)
            elif path.suffix != _PARTIAL:
                self._ship_whole(path)
            else:
                begin = segment_number(path.stem, size) * size
                # It may be full by now, and have its last name: the next turn brings all of it.
                with contextlib.suppress(FileNotFoundError):
                    self._ship_part(path, min(max(written_lsn - begin, 0), path.stat().st_size))

    def pause(self) -> None:
        """Receive no more until what waits is in the target; the server keeps the rest, as long as it may."""
        self._tool.stop()

    def take_pieces(self) -> int:
        """How many were brought away since it was asked last."""
        pieces, self._pieces = self._pieces, 0
        return pieces

    def close(self) -> None:
        """Receive no more."""
        self._tool.stop()

    def _ship_whole(self, path: Path) -> None:
        self._send(path, path.name, 0, self._facts.segment_bytes)
        self._shipped.pop(path.name, None)
        path.unlink()

    def _ship_part(self, path: Path, end: int) -> None:
        segment = path.stem
        pieces = self._shipped.setdefault(segment, [])
        first = pieces[-1].end if pieces else 0
        if end > first:
            self._send(path, segment, 0 if len(pieces) >= _PIECES_MAX else first, end)

    def _send(self, path: Path, segment: str, first: int, end: int) -> None:
        """One piece; those that it stands for go once it is there."""
        size = self._facts.segment_bytes
        reached = segment_number(segment, size) * size + end
        while self._marks and self._marks[0].lsn <= reached:
            self.moment = max(self.moment, self._marks.popleft().moment)
        piece = WalPiece(self._facts.system, segment, first, end, self.moment)
        self._target.write(piece.name, lambda sink: seal(piece.name, _Part(path, first, end), sink, self._recipients))
        self._pieces += 1
        self.shipped_lsn = max(self.shipped_lsn, reached)
        before = self._shipped.get(segment, [])
        if first == 0:
            for old in before:
                if old.name != piece.name:
                    self._target.delete(old.name)
            before = []
        self._shipped[segment] = [*before, piece]

    def _ship_history(self, path: Path) -> None:
        name = history_name(self._facts.system, int(path.stem, 16))
        size = path.stat().st_size
        self._target.write(name, lambda sink: seal(name, _Part(path, 0, size), sink, self._recipients))
        path.unlink()


class _Part:
    """A part of a file, as a source."""

    def __init__(self, path: Path, first: int, end: int) -> None:
        self._content = memoryview(path.read_bytes())[first:end]

    def read(self, size: int) -> bytes:
        part, self._content = self._content[:size], self._content[size:]
        return bytes(part)
