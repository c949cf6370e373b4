"""The measurement of the sync job, over a day of rows."""

from pathlib import Path

import pytest

from benchmarks.parts.service.sync import measure_sync
from benchmarks.progress import Progress
from trinity.clock import SystemClock

pytestmark = pytest.mark.long


def test_it_measures_a_history_an_increment_and_nothing(tmp_path: Path) -> None:
    """All rows arrived, or it would have failed."""
    found = measure_sync(tmp_path, 25_000, 1, Progress(SystemClock()))
    assert found["rows"] == 1440 * 18
    assert all(found[name] > 0 for name in ("whole_seconds", "increment_ms", "nothing_ms"))
