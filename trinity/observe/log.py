"""Structured logs: one JSON object a line, one stream a process.

Rules: each process writes `<data_dir>/logs/<process>.jsonl` and, for warnings and worse, the terminal. Fields are
`time`, `level`, `process`, `event` and whatever the caller gives in `extra={"fields": {...}}`. Files are bounded in
bytes, days and lines a second (log_bounds.py). A start without a place for them is refused (`check_log_folder`); a disk
or folder that refuses later costs lines, which are counted, one line on the terminal, and nothing else. What comes and
goes is told once per change (`Settled`, `Outage`), what goes on being lost once a minute (`Losses`).
Secrets are not logged: nobody passes them here.
"""

import contextlib
import errno
import itertools
import json
import logging
import os
import re
import sys
from collections.abc import Hashable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trinity.clock import NS_PER_SECOND
from trinity.errors import ConfigError
from trinity.limits import LOG_FILE_BYTES_MAX, LOG_FILES_KEPT, STATE_LOG_GAP_NS, STORE_START_NS
from trinity.observe.log_bounds import FILE_SECONDS_MAX, LineRate

# What goes on being lost is a line a minute with the number, not twenty a second onto a disk that is full.
_LOSS_GAP_NS = 60 * NS_PER_SECOND


def check_log_folder(data_dir: Path) -> None:
    """Make the folder if need be; ConfigError when no log can be written there."""
    folder = folder_of(data_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / "probe"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
        probe.unlink()
    except OSError as error:
        raise ConfigError("TRINITY_DATA_DIR", f"no logs can be written to {folder}: {error.strerror}") from None


def open_log(process: str, data_dir: Path, terminal_level: int = logging.WARNING) -> logging.Logger:
    """The logger of this process; a file that cannot be written is told by the first line for it."""
    log = logging.getLogger(f"trinity.{process}")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
    for bound in list(log.filters):
        log.removeFilter(bound)
    log.addFilter(LineRate(log))
    terminal = _Terminal(sys.stderr)
    terminal.setLevel(terminal_level)
    for handler in (terminal, LogFile(folder_of(data_dir) / f"{process}.jsonl", terminal)):
        handler.setFormatter(JsonLines(process))
        log.addHandler(handler)
    return log


class Settled:
    """When a state that comes and goes is worth a line: at once, then at most one in a gap, and the last one is true.

    Ask at each look at the state, also when it is as before: a change that was held back is made up for.
    """

    def __init__(self, state: Hashable, gap_ns: int = STATE_LOG_GAP_NS) -> None:
        self._told = state
        self._told_at_ns: int | None = None
        self._gap_ns = gap_ns

    def is_news(self, state: Hashable, now_ns: int) -> bool:
        """Whether to write a line now; then it counts as written."""
        if state == self._told or (self._told_at_ns is not None and now_ns - self._told_at_ns < self._gap_ns):
            return False
        self._told, self._told_at_ns = state, now_ns
        return True


class Outage:
    """Tells of a store that is away: when it goes, when the reason is another one, and when it is back.

    One that was never there is starting, for STORE_START_NS from the first question on: no fault, and no warning.
    """

    def __init__(self, log: logging.Logger, level: int, away: str, back: str) -> None:
        self._log, self._level, self._away, self._back = log, level, away, back
        self._asked_at_ns: int | None = None
        self._was_there = False
        self._told: str | None = None  # the reason
        self._warned = False

    def down(self, reason: str, now_ns: int) -> None:
        """It did not answer."""
        self._asked_at_ns = now_ns if self._asked_at_ns is None else self._asked_at_ns
        is_starting = not self._was_there and now_ns - self._asked_at_ns < STORE_START_NS
        if reason == self._told and (self._warned or is_starting):
            return
        self._told, self._warned = reason, self._warned or not is_starting
        self._log.log(logging.INFO if is_starting else self._level, self._away, extra={"fields": {"reason": reason}})

    def fault(self, reason: str) -> None:
        """It answers, and what it says is wrong, whenever that is."""
        if reason != self._told or not self._warned:
            self._told, self._warned = reason, True
            self._log.error(self._away, extra={"fields": {"reason": reason}})

    def up(self) -> None:
        """It answers."""
        if self._told is not None or not self._was_there:
            self._log.log(logging.WARNING if self._warned else logging.INFO, self._back)
        self._was_there, self._told, self._warned = True, None, False


class Losses:
    """Tells of what is lost bit by bit: the first at once, then what came together in a minute. Ask at every turn."""

    def __init__(self, log: logging.Logger, event: str) -> None:
        self._log, self._event = log, event
        self._untold = 0
        self._fields: dict[str, object] = {}
        self._told_at_ns: int | None = None

    def add(self, lost: int, **fields: object) -> None:
        """So many more; the line has the newest fields."""
        self._untold += lost
        self._fields = fields

    def tell(self, now_ns: int, *, is_last: bool = False) -> None:
        """Write a line if one is due; at the end of the process, if there is anything untold."""
        is_early = self._told_at_ns is not None and now_ns - self._told_at_ns < _LOSS_GAP_NS
        if self._untold and (is_last or not is_early):
            self._log.critical(self._event, extra={"fields": {"lost": self._untold, **self._fields}})
            self._untold, self._told_at_ns = 0, now_ns


class JsonLines(logging.Formatter):
    """A record as one JSON line."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self.process = process

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": self.process,
            "event": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class _Terminal(logging.StreamHandler[Any]):
    """Standard error; that nobody reads it any more is no error."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - logging's name
        return


class LogFile(logging.Handler):
    """A file that is bounded in bytes and days, and opened again when it was removed.

    At LOG_FILE_BYTES_MAX, or when its first line is FILE_SECONDS_MAX old, it becomes `<name>.1`, that `<name>.2`, and
    so on; the oldest goes. Each line is one write, so none is kept back for a disk that is full.
    """

    def __init__(self, path: Path, terminal: logging.Handler) -> None:
        super().__init__()
        self._path = path
        self._terminal = terminal
        self._fd: int | None = None
        self._begun = 0.0  # when its first line was written
        self._lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or count it as lost."""
        try:
            if self._lost:
                self._write(self._told(record, logging.WARNING, "log lines were lost", lines=self._lost))
                self._lost = 0
            self._write(record)
        except OSError as error:
            if not self._lost:
                reason = {"file": str(self._path), "reason": error.strerror}
                self._terminal.handle(self._told(record, logging.CRITICAL, "the log cannot be written", **reason))
            self._lost += 1

    def close(self) -> None:
        """Close the file; a later line opens it again."""
        self._close()
        super().close()

    def _write(self, record: logging.LogRecord) -> None:
        line = self.format(record).encode(errors="backslashreplace") + b"\n"
        if self._fd is not None and os.fstat(self._fd).st_nlink == 0:
            self._close()  # somebody removed it
        if self._fd is None:
            self._open(record.created)
        assert self._fd is not None
        size = os.fstat(self._fd).st_size
        if size and (size > LOG_FILE_BYTES_MAX - len(line) or record.created - self._begun > FILE_SECONDS_MAX):
            self._close()
            self._rotate()
            self._open(record.created)
        if (taken := os.write(self._fd, line)) < len(line):  # the disk took a part: the next line begins anew
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - taken)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _open(self, now: float) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o644)
        self._begun = _time_of(os.pread(self._fd, 64, 0), now)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _rotate(self) -> None:
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, LOG_FILES_KEPT))]
        for newer, older in reversed(list(itertools.pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)

    def _told(self, record: logging.LogRecord, level: int, event: str, **fields: object) -> logging.LogRecord:
        """A line of our own, at the time of the one that it is about."""
        told = logging.LogRecord(record.name, level, "", 0, event, None, None)
        told.created, told.fields = record.created, fields
        return told


def _time_of(line: bytes, now: float) -> float:
    """When a line of ours was written, by its beginning; a file without one begins now."""
    found = re.match(rb'\{"time": "([^"]+)"', line)
    if found is None:
        return now
    try:
        return datetime.fromisoformat(found[1].decode()).timestamp()
    except ValueError:
        return now


def folder_of(data_dir: Path) -> Path:
    """Where a node's logs are."""
    return data_dir / "logs"
