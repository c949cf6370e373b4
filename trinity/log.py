"""Structured logs: one JSON object a line, one stream a process.

Rules: each process writes `<data_dir>/logs/<process>.jsonl` and, for warnings and worse, the terminal. Fields are
`time`, `level`, `process`, `event` and whatever the caller gives in `extra={"fields": {...}}`. Secrets are not
logged: nobody passes them here.
"""

import json
import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LOG_DAYS_KEPT = 30


def open_log(process: str, data_dir: Path | None, terminal_level: int = logging.WARNING) -> logging.Logger:
    """The logger of this process; `data_dir` None writes to the terminal only."""
    log = logging.getLogger(f"trinity.{process}")
    log.setLevel(logging.INFO)
    log.propagate = False
    for handler in list(log.handlers):
        log.removeHandler(handler)
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(terminal_level)
    terminal.setFormatter(JsonLines(process))
    log.addHandler(terminal)
    if data_dir is not None:
        folder = data_dir / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        file = logging.handlers.TimedRotatingFileHandler(
            folder / f"{process}.jsonl", when="midnight", backupCount=LOG_DAYS_KEPT, utc=True, delay=True
        )
        file.setFormatter(JsonLines(process))
        log.addHandler(file)
    return log


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
