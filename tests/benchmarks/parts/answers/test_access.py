"""What access costs."""

from pathlib import Path

from benchmarks.parts.answers import access
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def test_every_check_has_its_time_and_every_request_was_let_in(tmp_path: Path) -> None:
    """A table of a few keys; a refused request would have given a time of zero."""
    found = access.measure_access(tmp_path, 1, 1_000, Progress(SystemClock(), quiet=True))
    times = {name: value for name, value in found.items() if name.endswith("_ns")}
    assert set(times) == {
        "recognised_ns", "limited_ns", "new_ns", "limited_many_ns", "anonymous_ns", "blocked_ns", "record_ns"
    }  # fmt: skip
    assert all(ns > 0 for ns in times.values())
    assert found["keys"] == 1_000
