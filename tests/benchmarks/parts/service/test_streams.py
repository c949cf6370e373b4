"""The lags of streams: the arithmetic, and a small run with a real reporter."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.errors import PeerError
from benchmarks.generators.stream_readers import MS_MAX, Lags
from benchmarks.parts.service.streams import measure_streams, percentile_of, summary_of
from benchmarks.progress import Progress
from trinity.clock import SystemClock


def _lags(*clients: dict[int, int]) -> Lags:
    lags = np.zeros((len(clients), MS_MAX + 1), dtype=np.int32)
    for number, counts in enumerate(clients):
        for ms, count in counts.items():
            lags[number, ms] = count
    return lags


def test_the_worst_client_counts() -> None:
    """Its own 99th percentile, not that of all events together; a client that heard nothing is named."""
    found = summary_of(_lags({10: 1000}, {10: 90, 900: 10}, {}), 1.0)
    assert (found["worst_client_lag_ms_p99"], found["silent_clients"], found["lag_ms_max"]) == (900, 1, 900)
    assert found["lag_ms_p99"] == 10
    with pytest.raises(PeerError):
        summary_of(_lags({}, {}), 1.0)


@given(st.lists(st.integers(0, MS_MAX), min_size=1, max_size=300), st.integers(1, 100))
def test_a_percentile_of_counts_is_that_of_the_values(values: list[int], percent: int) -> None:
    """By the nearest rank: the smallest value that so many percent do not exceed."""
    counts = np.bincount(values, minlength=MS_MAX + 1)
    rank = max(1, math.ceil(len(values) * percent / 100))
    assert percentile_of(counts, percent) == sorted(values)[rank - 1]


def test_a_small_run_hears_every_asset(tmp_path: Path) -> None:
    """Every client hears, and about as often as was published."""
    found = measure_streams(tmp_path, 5, 2.0, Progress(SystemClock()))
    assert (found["clients"], found["silent_clients"]) == (5, 0)
    assert 0 < found["events_per_second"] <= 5 * 25 * 4 * 1.5
