"""The command line of the benchmarks: the parts that take longest, in a test process of their own."""

from pathlib import Path

import pytest

from tests.support.short_parts import SLOW, measure_short


@pytest.mark.parametrize("part", SLOW)
def test_every_slow_part_runs_short_and_measures(part: str, tmp_path: Path) -> None:
    """As the others in `test_main.py`."""
    measure_short(part, tmp_path)
