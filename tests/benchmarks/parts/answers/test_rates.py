"""Pipelining and the open loop, short, on a real worker."""

from pathlib import Path

from benchmarks.parts.answers.rates import DEPTHS, measure_half_peak, measure_pipelining
from benchmarks.progress import Progress
from trinity.clock import SystemClock

QUIET = Progress(SystemClock(), quiet=True)


def test_pipelining_has_a_row_a_depth_and_a_gain(tmp_path: Path) -> None:
    """Both depths answer without a fault; the gain is their quotient turn by turn."""
    found = measure_pipelining(tmp_path, 1, 0.2, QUIET)
    assert [row["pipelining"] for row in found["rows"]] == list(DEPTHS)
    assert found["faults"] == {}
    assert found["gain"] > 0


def test_the_open_loop_runs_at_half_of_the_peak(tmp_path: Path) -> None:
    """Each turn asks for half of what its own closed loop reached."""
    found = measure_half_peak(tmp_path, 1, 0.3, QUIET)
    (turn,) = found["turns"]
    # The rate is a whole number, and the peak is shown with one decimal.
    assert abs(turn["sent"] - turn["peak_per_second"] / 2 * 0.3) <= 1.5
    assert found["p99_us"] >= turn["latency_us"]["p50"] > 0
