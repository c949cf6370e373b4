"""The fire of the benchmark, over a little database: what it says was counted."""

from pathlib import Path

import pytest

from benchmarks.errors import PeerError
from benchmarks.parts.service import restore
from benchmarks.parts.service.restore import measure_restore
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def test_what_was_backed_up_comes_back_out_of_a_fire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All rows are there again; of the commits, those of the last moments are lost at most; nothing is left behind."""
    monkeypatch.setattr(restore, "DAYS", 2)
    clock = SystemClock()
    found = measure_restore(tmp_path, 1, 2.0, clock, Progress(clock, quiet=True))
    assert found["rows"] == 3 * 1440 * 18
    assert 0 <= found["commits_lost"] < found["commits"]
    assert found["base_sealed_bytes"] > 0
    assert set(found["steps_seconds"]) >= {"fetch", "log", "replay"}
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told_before_anything_is_made(tmp_path: Path) -> None:
    """More rows than any disk takes: the error says how many bytes are wanted, and the folder stays empty."""
    clock = SystemClock()
    with pytest.raises(PeerError, match="are wanted"):
        measure_restore(tmp_path, 10**12, 1.0, clock, Progress(clock, quiet=True))
    assert list(tmp_path.iterdir()) == []
