"""Structured logs: one JSON object a line, one file a process."""

import contextlib
import io
import json
import logging
import os
import resource
import signal
import sys
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.clock import NS_PER_SECOND
from trinity.errors import ConfigError
from trinity.limits import LOG_FILES_KEPT, STATE_LOG_GAP_NS
from trinity.observe.log import JsonLines, Outage, Settled, check_log_folder, open_log


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


def test_files_are_bounded_in_bytes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However much is logged: so many files, none beyond its size, and the newest lines are there in order."""
    monkeypatch.setattr("trinity.observe.log.LOG_FILE_BYTES_MAX", 1000)
    monkeypatch.setattr("trinity.observe.log_bounds.LOG_LINES_A_SECOND", 10_000)
    log = open_log(name, tmp_path, terminal_level=logging.CRITICAL)
    for number in range(1000):
        log.info("event", extra={"fields": {"number": number, "text": "x" * (number % 50)}})
    _close(log)
    files = sorted((tmp_path / "logs").iterdir())
    assert [file.name for file in files] == [f"{name}.jsonl", *(f"{name}.jsonl.{n}" for n in range(1, LOG_FILES_KEPT))]
    assert all(0 < file.stat().st_size <= 1000 for file in files)
    numbers = [line["number"] for file in [*reversed(files[1:]), files[0]] for line in _lines(file)]
    assert numbers == list(range(1000 - len(numbers), 1000))


def _written(log: logging.Logger, event: str, at: float) -> None:
    record = log.makeRecord(log.name, logging.INFO, "", 0, event, (), None)
    record.created = at
    log.handle(record)


def test_no_file_holds_lines_of_more_than_six_days(name: str, tmp_path: Path) -> None:
    """Also over restarts of its process, however few they are: so the five files hold a month at most."""
    day, begun = 86_400, 1_700_000_000
    for number in range(40):
        log = open_log(name, tmp_path, terminal_level=logging.CRITICAL)
        _written(log, f"day {number}", begun + number * day)
        _close(log)
    files = [tmp_path / "logs" / f"{name}.jsonl", *(tmp_path / "logs" / f"{name}.jsonl.{n}" for n in range(1, 5))]
    events = [[str(line["event"]) for line in _lines(file)] for file in files]
    assert events[0] == [f"day {number}" for number in range(35, 40)]
    assert all(1 < len(lines) <= 7 for lines in events)
    assert sum(map(len, events)) <= 33


@pytest.mark.parametrize("obstacle", ["a file", "a link to nowhere", "a file at the data directory"])
def test_a_start_without_a_place_for_logs_is_refused_in_one_sentence(obstacle: str, tmp_path: Path) -> None:
    """Before anything is started, with the folder and the reason."""
    if obstacle == "a file":
        (tmp_path / "logs").write_text("")
    elif obstacle == "a link to nowhere":
        (tmp_path / "logs").symlink_to("/proc/nothing/here")
    else:
        (tmp_path / "plain").write_text("")
        tmp_path /= "plain"
    with pytest.raises(ConfigError, match=r"TRINITY_DATA_DIR: no logs can be written to .*/logs: "):
        check_log_folder(tmp_path)


def test_the_check_leaves_nothing_behind(tmp_path: Path) -> None:
    """Only the folder."""
    check_log_folder(tmp_path)
    assert list((tmp_path / "logs").iterdir()) == []


def test_a_folder_that_refuses_later_costs_one_line_and_the_count_of_the_lost(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback, nothing a line; when it takes lines again, it says how many are missing."""
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    log = open_log(name, tmp_path)
    log.info("before")
    folder = tmp_path / "logs"
    (folder / f"{name}.jsonl").rename(tmp_path / "kept")
    (tmp_path / "kept").unlink()
    folder.rmdir()
    folder.write_text("in the way")
    at = time.time()
    for number in range(50):
        _written(log, "lost", at + number)
    (told,) = [json.loads(line) for line in errors.getvalue().splitlines()]
    assert (told["level"], told["event"]) == ("critical", "the log cannot be written")
    assert told["reason"]
    folder.unlink()
    log.info("after")
    _close(log)
    lines = _lines(folder / f"{name}.jsonl")
    assert [(line["event"], line.get("lines")) for line in lines] == [("log lines were lost", 50), ("after", None)]
    assert len(errors.getvalue().splitlines()) == 1


def test_a_full_disk_costs_lines_but_never_half_a_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk takes a part of a line and refuses the next: what stands in the file are whole lines."""
    log = open_log(name, tmp_path, terminal_level=logging.CRITICAL + 1)
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    monkeypatch.setattr("trinity.observe.log_bounds.LOG_LINES_A_SECOND", 10_000)
    try:
        for number in range(40):
            log.info("event", extra={"fields": {"number": number}})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    log.info("after")
    _close(log)
    lines = _lines(tmp_path / "logs" / f"{name}.jsonl")
    whole = [line["number"] for line in lines if "number" in line]
    assert whole == list(range(len(whole)))
    assert lines[-2:][0]["lines"] == 40 - len(whole)


def test_a_terminal_that_nobody_reads_is_no_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reader of standard error left: the file has the line, and nothing is printed about it."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as gone, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", gone)
        log = open_log(name, tmp_path)
        log.error("nobody sees it")
        _close(log)
        with contextlib.suppress(OSError):
            gone.close()
    assert [line["event"] for line in _lines(tmp_path / "logs" / f"{name}.jsonl")] == ["nobody sees it"]
    assert capsys.readouterr().err == ""


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2 * STATE_LOG_GAP_NS)), max_size=60))
def test_a_state_that_flaps_is_told_seldom_and_its_last_line_is_true(looks: list[tuple[str, int]]) -> None:
    """Never two lines within the gap, no line without a change, and after a quiet gap the last line is what is."""
    settled, now_ns, told, told_at_ns = Settled("a"), 1_000, "a", -STATE_LOG_GAP_NS
    for state, after_ns in looks:
        now_ns += after_ns
        if settled.is_news(state, now_ns):
            assert state != told
            assert now_ns - told_at_ns >= STATE_LOG_GAP_NS
            told, told_at_ns = state, now_ns
    if looks:
        now_ns += STATE_LOG_GAP_NS
        if settled.is_news(looks[-1][0], now_ns):
            told = looks[-1][0]
        assert told == looks[-1][0]


class _Kept(logging.Handler):
    """Level and event of each record, with its reason."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str, object]] = []

    def emit(self, record: logging.LogRecord) -> None:
        reason = getattr(record, "fields", {}).get("reason")
        self.lines.append((record.levelname, record.getMessage(), reason))


@pytest.fixture
def outage(name: str) -> tuple[Outage, _Kept]:
    log, kept = logging.getLogger(name), _Kept()
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(kept)
    return Outage(log, logging.ERROR, "away", "back"), kept


def test_a_store_that_is_starting_is_no_fault(outage: tuple[Outage, _Kept]) -> None:
    """Asked over and over while it starts: told as information, once a reason."""
    told, kept = outage
    for second in range(10):
        told.down("refused" if second < 5 else "starting up", second * NS_PER_SECOND)
    told.up()
    told.up()
    assert kept.lines == [("INFO", "away", "refused"), ("INFO", "away", "starting up"), ("INFO", "back", None)]


def test_a_store_that_never_comes_is_a_fault_after_a_while(outage: tuple[Outage, _Kept]) -> None:
    """Once, though nothing has changed: the time that a start may take is over."""
    told, kept = outage
    for second in range(200):
        told.down("refused", second * NS_PER_SECOND)
    told.up()
    assert kept.lines == [("INFO", "away", "refused"), ("ERROR", "away", "refused"), ("WARNING", "back", None)]


def test_a_store_that_was_there_is_missed_at_once(outage: tuple[Outage, _Kept]) -> None:
    """One line when it goes, one when it is back, however often it is asked."""
    told, kept = outage
    told.up()
    for second in range(10):
        told.down("refused", second * NS_PER_SECOND)
    told.up()
    told.fault("newer than this version")
    told.fault("newer than this version")
    assert kept.lines == [
        ("INFO", "back", None), ("ERROR", "away", "refused"), ("WARNING", "back", None),
        ("ERROR", "away", "newer than this version"),
    ]  # fmt: skip


def test_fields_cannot_break_a_line() -> None:
    """Control characters and line ends are escaped: a peer's text stays inside its string."""
    record = logging.LogRecord("x", logging.INFO, "f", 1, 'a\n"b"\x00', None, None)
    text = JsonLines("p").format(record)
    assert "\n" not in text
    assert json.loads(text)["event"] == 'a\n"b"\x00'
