"""Drift is the last quarter of the samples against the first."""

from typing import Any

from benchmarks.parts.soak import drift_of


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
    """Memory that grows by 1 MiB a sample shows; threads that stay do not."""
    drift = drift_of([_sample(10.0, 300.0 + i) for i in range(16)])
    assert drift["pss_mib"] == {"first": 301.5, "last": 313.5, "change": 12.0}
    assert drift["threads"]["change"] == 0
    assert drift["p99_us"] == {"first": 20.0, "last": 20.0, "change": 0.0}


def test_one_odd_sample_is_no_drift_and_faults_add_up() -> None:
    """Medians of quarters forget a single stall, but not its losses."""
    samples = [_sample(10.0, 300.0) for _ in range(16)]
    samples[15] = _sample(9_000.0, 300.0, lost=3)
    samples[1] = _sample(10.0, 300.0, lost=1)
    drift = drift_of(samples)
    assert drift["p50_us"]["change"] == 0
    assert drift["faults"] == {"lost": 4}
