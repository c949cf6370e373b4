"""trinity/observe/log_bounds.py: lines of a second, and days"""

import json
import logging
import os
import uuid
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trinity.observe.log import open_log
from trinity.observe.log_bounds import HELD_BACK, LOG_DAYS_KEPT, LOG_LINES_A_SECOND, LineRate, sweep_logs

NOW = 1_700_000_000
DAY = 86_400


class _Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def _log() -> tuple[logging.Logger, _Kept]:
    log, kept = logging.getLogger(f"test-{uuid.uuid4().hex[:8]}"), _Kept()
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(kept)
    log.addFilter(LineRate(log))
    return log, kept


def _write(log: logging.Logger, at: float) -> None:
    record = log.makeRecord(log.name, logging.INFO, "", 0, "event", (), None)
    record.created = at
    log.handle(record)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 60)), max_size=30))
def test_no_second_has_more_lines_than_the_bound_and_each_line_is_written_or_counted(
    bursts: list[tuple[int, int]],
) -> None:
    """Whatever comes, and whenever; what is held back at the very end is told of in that second."""
    log, kept = _log()
    second, written = NOW, 0
    for later, lines in bursts:
        second += later
        for _ in range(lines):
            _write(log, second + 0.5)
        written += lines
    _write(log, second + 1)
    by_second: dict[int, int] = {}
    for record in kept.records:
        by_second[int(record.created)] = by_second.get(int(record.created), 0) + 1
    assert max(by_second.values()) <= LOG_LINES_A_SECOND
    events = [record for record in kept.records if record.getMessage() != HELD_BACK]
    held_back = sum(getattr(record, "fields", {}).get("held_back", 0) for record in events)
    assert len(events) + held_back == written + 1


def test_a_process_that_writes_without_end_fills_no_file(tmp_path: Path) -> None:
    """Ten thousand lines at once are twenty in the file for each second that it took."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    log = open_log(name, tmp_path, terminal_level=logging.CRITICAL + 1)
    for _ in range(10_000):
        log.error("the same again")
    for handler in log.handlers:
        handler.close()
    lines = [json.loads(line) for line in (tmp_path / "logs" / f"{name}.jsonl").read_text().splitlines()]
    seconds = {line["time"][:19] for line in lines}
    assert len(lines) <= LOG_LINES_A_SECOND * len(seconds)
    assert HELD_BACK in [line["event"] for line in lines]


def test_files_that_nobody_wrote_for_a_month_go_and_no_others(tmp_path: Path) -> None:
    """Of whatever process; what is no log of ours stays."""
    ages = {"worker-0.jsonl": 1, "worker-9.jsonl": LOG_DAYS_KEPT + 1, "worker-0.jsonl.3": LOG_DAYS_KEPT + 1, "note": 99}
    for file, days in ages.items():
        (tmp_path / file).write_text("{}")
        os.utime(tmp_path / file, (NOW, NOW - days * DAY))
    assert sweep_logs(tmp_path, NOW) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["note", "worker-0.jsonl"]
    assert sweep_logs(tmp_path / "nowhere", NOW) == 0
