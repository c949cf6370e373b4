"""What a log may not be more of: lines a second, and days.

Bytes are bounded where the file is written (log.py). Lines of a second are counted by the records' own time: from the
LOG_LINES_A_SECOND-th on there is one line that says so, and how many were held back is a field of the next. Old files
go by when they were last written, whoever wrote them: also those of a process that this node has no more.
"""

import contextlib
import logging
from pathlib import Path

from trinity.limits import LOG_FILES_KEPT

# A month, as the specification keeps logs; and what one process may write in a second, whatever happens to it: the
# specification has never 20.
LOG_DAYS_KEPT = 30
LOG_LINES_A_SECOND = 19
_SECONDS_OF_DAY = 86_400
# A file that takes lines for longer is put aside: its oldest line must not wait for its newest to be over age.
FILE_SECONDS_MAX = LOG_DAYS_KEPT * _SECONDS_OF_DAY / LOG_FILES_KEPT
HELD_BACK = "more lines in this second are held back"


class LineRate(logging.Filter):
    """Of one process's log, for all its handlers."""

    def __init__(self, log: logging.Logger) -> None:
        super().__init__()
        self._log = log
        self._second = 0
        self._lines = self._held_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written; it carries the number of those before it that were not."""
        if (second := int(record.created)) != self._second:
            self._second, self._lines = second, 0
        self._lines += 1
        if self._lines >= LOG_LINES_A_SECOND:
            if self._lines == LOG_LINES_A_SECOND:
                self._tell(record)
            self._held_back += 1
            return False
        if self._held_back:
            record.fields = {**getattr(record, "fields", {}), "held_back": self._held_back}
            self._held_back = 0
        return True

    def _tell(self, record: logging.LogRecord) -> None:
        told = logging.LogRecord(record.name, logging.WARNING, "", 0, HELD_BACK, None, None)
        told.created = record.created
        for handler in self._log.handlers:
            if told.levelno >= handler.level:
                handler.handle(told)


def sweep_logs(folder: Path, wall_seconds: float) -> int:
    """Delete what was written last more than LOG_DAYS_KEPT ago; how many files that were."""
    swept = 0
    for path in folder.glob("*.jsonl*"):
        with contextlib.suppress(OSError):  # it is gone, or not ours: it is tried again
            if path.stat().st_mtime < wall_seconds - LOG_DAYS_KEPT * _SECONDS_OF_DAY:
                path.unlink()
                swept += 1
    return swept
