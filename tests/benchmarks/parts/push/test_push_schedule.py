"""The schedule's measurement with a few subscriptions, through the real process and database."""

from pathlib import Path

import pytest

from benchmarks.parts.push import push_schedule
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def test_those_that_are_well_are_measured_before_and_beside_the_bad_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every message of theirs is delivered, and none over a new connection."""
    monkeypatch.setattr(push_schedule, "INTERVAL_S", 3)
    found = push_schedule.measure_push_schedule(tmp_path, 100, 7.0, Progress(SystemClock(), quiet=True))
    windows = [found["well"], *found["bad"]]
    assert len(windows) == 1 + push_schedule.WINDOWS_BAD
    for row in windows:
        assert row["deliveries"] >= 100
        assert set(row["outcomes"]) == {"delivered"}
        assert row["late_ms_p50"] <= row["late_ms_p99"] <= row["late_ms_max"]
    assert found["well"]["new_connections"] == 0
    assert sum(sum(row["outcomes_of_bad"].values()) for row in found["bad"]) > 0
