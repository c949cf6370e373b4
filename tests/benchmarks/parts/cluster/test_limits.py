"""benchmarks/parts/cluster/limits.py; that it runs is tests/benchmarks/test_main_slow_parts.py."""

import pytest

from benchmarks.parts.cluster.limits import BURST, RATE, judge


def test_what_was_admitted_is_held_against_the_plan_in_every_window_and_in_all() -> None:
    """A burst at once and the rate behind it are the plan; five per cent more of the rate is over by as much."""
    planned = [0.0] * BURST + [i / RATE for i in range(1, 20 * RATE + 1)]
    found = judge(planned, 0.0)
    assert found["over"] <= 0
    assert found["under"] == pytest.approx(0, abs=0.001)
    more = [0.0] * BURST + [i / (RATE * 1.05) for i in range(1, int(20 * RATE * 1.05) + 1)]
    assert judge(more, 0.0)["over"] == pytest.approx(0.05 * 10 * RATE / (10 * RATE + BURST), abs=0.002)
    fewer = planned[: BURST + 1] + planned[BURST + 1 :: 2]
    assert judge(fewer, 0.0)["under"] > 0.4
    assert judge([], 0.0)["under"] == 1.0
