"""benchmarks/parts/service/restart.py"""

from pathlib import Path

import pytest

from benchmarks.parts.service.restart import measure_restart
from benchmarks.progress import Progress
from trinity.clock import SystemClock


@pytest.mark.long
def test_a_killed_node_answers_again_and_a_replacement_costs_no_question(tmp_path: Path) -> None:
    """One turn of each on a whole node: seconds and steps are there, and no caller was left without an answer."""
    clock = SystemClock()
    found = measure_restart(tmp_path, 1, clock, Progress(clock, quiet=True))
    assert found["median_seconds"] > 0
    assert found["turns"][0]["steps"]
    assert found["replaced"]["failures"] == 0
