"""The load levels."""

from pathlib import Path

from benchmarks.parts.answers import levels
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def test_there_are_thirteen_levels_from_1_to_4096() -> None:
    """Each level doubles the one before."""
    assert levels.LEVELS == (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)


def test_every_level_of_both_protocols_is_measured_without_a_fault(tmp_path: Path) -> None:
    """Up to 4,096 connections and 4,096 datagrams in flight: answers at each level, none lost or wrong."""
    found = levels.measure_levels(tmp_path, 0.1, Progress(SystemClock(), quiet=True))
    for protocol in levels.PROTOCOLS:
        assert [row["level"] for row in found[protocol]] == list(levels.LEVELS)
        for row in found[protocol]:
            assert row["answered"] == row["sent"] >= row["level"]
            assert row["faults"] == {}
