"""benchmarks/parts/answers/keys.py"""

from benchmarks.parts.answers.keys import measure_keys
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def test_every_way_to_load_keys_is_measured() -> None:
    """A few keys through a real database and a real snapshot."""
    found = measure_keys(100, Progress(SystemClock()))
    for name in ("load_seconds", "comparison_seconds", "snapshot_written_seconds", "snapshot_loaded_seconds"):
        assert found[name] > 0
    assert found["longest_silence_ms"] > 0
    assert found["keys"] == 100
