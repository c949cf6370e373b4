"""Structured logs: one JSON object a line, one file a process."""

import io
import json
import logging
import sys
import uuid
from pathlib import Path

import pytest

from trinity.log import LOG_DAYS_KEPT, JsonLines, open_log


def _lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


def _close(log: logging.Logger) -> None:
    for handler in log.handlers:
        handler.close()


def test_a_line_names_time_level_process_and_event_and_carries_the_fields(name: str, tmp_path: Path) -> None:
    """What the caller gives as fields stands beside them, whatever its type."""
    log = open_log(name, tmp_path)
    log.info("row is frozen", extra={"fields": {"asset": "BTC", "age_ms": 7, "path": tmp_path}})
    _close(log)
    (line,) = _lines(tmp_path / "logs" / f"{name}.jsonl")
    assert line.pop("time")
    assert line == {
        "level": "info", "process": name, "event": "row is frozen", "asset": "BTC", "age_ms": 7, "path": str(tmp_path),
    }  # fmt: skip


def test_the_terminal_gets_warnings_only_and_as_json(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output stays with the lines for people."""
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    log = open_log(name, tmp_path)
    log.info("fine")
    log.warning("not fine")
    _close(log)
    assert [json.loads(line)["event"] for line in errors.getvalue().splitlines()] == ["not fine"]
    assert len(_lines(tmp_path / "logs" / f"{name}.jsonl")) == 2


def test_an_error_brings_its_traceback_in_one_line(name: str, tmp_path: Path) -> None:
    """A line is a record, also when the record has many lines."""
    log = open_log(name, tmp_path, terminal_level=logging.CRITICAL)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        log.exception("failed")
    _close(log)
    (line,) = _lines(tmp_path / "logs" / f"{name}.jsonl")
    assert "ValueError: two\nlines" in str(line["error"])


def test_a_restarted_process_goes_on_with_its_file(name: str, tmp_path: Path) -> None:
    """Opening again neither loses the old lines nor doubles the new ones."""
    for event in ("first life", "second life"):
        log = open_log(name, tmp_path, terminal_level=logging.CRITICAL)
        log.info(event)
        _close(log)
    assert [line["event"] for line in _lines(tmp_path / "logs" / f"{name}.jsonl")] == ["first life", "second life"]


def test_files_are_kept_for_thirty_days(name: str, tmp_path: Path) -> None:
    """One file a day, thirty of them."""
    log = open_log(name, tmp_path)
    rotating = next(h for h in log.handlers if isinstance(h, logging.handlers.TimedRotatingFileHandler))
    assert (rotating.when, rotating.backupCount) == ("MIDNIGHT", LOG_DAYS_KEPT)
    _close(log)


def test_fields_cannot_break_a_line() -> None:
    """Control characters and line ends are escaped: a peer's text stays inside its string."""
    record = logging.LogRecord("x", logging.INFO, "f", 1, 'a\n"b"\x00', None, None)
    text = JsonLines("p").format(record)
    assert "\n" not in text
    assert json.loads(text)["event"] == 'a\n"b"\x00'
