"""benchmarks/parts/service/ledger_beside.py"""

from pathlib import Path

from benchmarks.parts.service.ledger_beside import DRAINED_SECONDS_MAX, measure_ledger_beside
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def test_the_ledger_s_price_is_measured_on_a_whole_node(tmp_path: Path) -> None:
    """Both kinds of window answer, and what waited is in the database at the end."""
    measured = measure_ledger_beside(tmp_path, 1, Progress(SystemClock()), on_seconds=3.0)
    assert measured["on_per_second"] > 0
    assert measured["off_per_second"] > 0
    assert len(measured["lag_records"]) == len(measured["ratios"]) == 1
    assert measured["drained_seconds"] < DRAINED_SECONDS_MAX, "the database took all that waited"
