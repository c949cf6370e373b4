"""The lags of streams: the arithmetic, and a small run with a real reporter."""

from pathlib import Path

import pytest

from benchmarks import streams
from benchmarks.errors import PeerError
from benchmarks.progress import Progress
from benchmarks.streams import measure_streams, summary_of
from trinity.clock import SystemClock


def test_the_worst_client_counts() -> None:
    """Its own 99th percentile, not that of all events together; a client that heard nothing is named."""
    found = summary_of([[10] * 1000, [10] * 90 + [900] * 10, []], 1.0)
    assert (found["worst_client_lag_ms_p99"], found["silent_clients"]) == (900, 1)
    assert found["lag_ms_p99"] < 900
    with pytest.raises(PeerError):
        summary_of([[], []], 1.0)


def test_a_small_run_hears_every_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every client hears, and about as often as was published."""
    monkeypatch.setattr(streams, "CLIENTS", 5)
    monkeypatch.setattr(streams, "WARM_UP_SECONDS", 1.0)
    found = measure_streams(tmp_path, 2.0, Progress(SystemClock()))
    assert (found["clients"], found["silent_clients"]) == (5, 0)
    assert 0 < found["events_per_second"] <= 5 * 25 * 4 * 1.5
