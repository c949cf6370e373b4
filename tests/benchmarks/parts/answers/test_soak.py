"""Drift is the slope of all samples, and the last quarter of them beside the first."""

from typing import Any

import numpy as np
import pytest

from benchmarks.parts.answers.soak import drift_of


def _sample(p50: float, pss_mib: float, lost: int = 0) -> dict[str, Any]:
    return {
        "latency_us": {"p50": p50, "p99": p50 * 2},
        "pss_mib": pss_mib,
        "threads": 12,
        "descriptors": 90,
        "processes": 12,
        "faults": {"lost": lost} if lost else {},
    }


def test_growth_is_shown_and_what_stands_still_is_zero() -> None:
    """Memory that grows by 1 MiB a sample, sixteen samples an hour, shows; threads that stay do not."""
    drift = drift_of([_sample(10.0, 300.0 + i) for i in range(16)], 3_600)
    assert drift["pss_mib"] == {"first": 301.5, "last": 313.5, "slope_per_hour": 16.0, "error": 0.0}
    assert drift["threads"]["slope_per_hour"] == 0
    assert drift["p99_us"] == {"first": 20.0, "last": 20.0, "slope_per_hour": 0.0, "error": 0.0}


def test_what_swings_has_an_error_beyond_its_slope() -> None:
    """As numpy fits the same samples."""
    swing = [10.0, 14.0, 9.0, 12.0, 13.0, 8.0, 12.0, 11.0]
    drift = drift_of([_sample(value, 300.0) for value in swing], 1_800)["p50_us"]
    hours = [i * 0.5 / len(swing) for i in range(len(swing))]
    slope, error = polyfit(hours, swing)
    assert drift["slope_per_hour"] == pytest.approx(slope, abs=0.01)
    assert drift["error"] == pytest.approx(error, abs=0.01)
    assert abs(drift["slope_per_hour"]) < 2 * drift["error"]


def polyfit(xs: list[float], ys: list[float]) -> tuple[float, float]:
    """numpy's own fit as the oracle: the slope, and the root of its variance."""
    (slope, _), covariance = np.polyfit(xs, ys, 1, cov=True)
    return float(slope), float(np.sqrt(covariance[0, 0]))


def test_one_odd_sample_is_no_drift_and_faults_add_up() -> None:
    """Medians of quarters forget a single stall, but not its losses."""
    samples = [_sample(10.0, 300.0) for _ in range(16)]
    samples[15] = _sample(9_000.0, 300.0, lost=3)
    samples[1] = _sample(10.0, 300.0, lost=1)
    drift = drift_of(samples, 60)
    assert drift["p50_us"]["first"] == drift["p50_us"]["last"]
    assert drift["faults"] == {"lost": 4}
