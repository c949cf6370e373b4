"""Turns, medians and ratios of the contest."""

from pathlib import Path

import pytest

from benchmarks.parts.answers import side_by_side
from benchmarks.progress import Progress
from trinity.clock import SystemClock

QUIET = Progress(SystemClock(), quiet=True)


def _contestant(us: list[float]) -> side_by_side.Contestant:
    return side_by_side.Contestant("x", "", [], None, us=us)  # type: ignore[arg-type]


def test_the_ratio_is_the_median_of_the_turns_own_ratios() -> None:
    """A turn in which the machine was slow for both does not move the ratio."""
    ours, theirs = _contestant([10.0, 30.0, 10.0]), _contestant([20.0, 60.0, 25.0])
    assert side_by_side.ratio(ours, theirs) == pytest.approx(0.5)


def test_http_is_measured_beside_the_floor_and_nginx(tmp_path: Path) -> None:
    """One short turn of all: no server gave a wrong answer, and ours has a ratio to each that is installed."""
    found = side_by_side.compare_http(tmp_path, 1, 0.2, QUIET)
    names = [row["name"] for row in found["contestants"]]
    assert names[:2] == [side_by_side.OURS, "floor"]
    assert set(found["ratio_of_ours"]) == set(names[1:])
    for row in found["contestants"]:
        assert row["faults"] == {}
        assert row["cpu_us"] > 0


def test_udp_is_measured_beside_the_bare_loops(tmp_path: Path) -> None:
    """Text, binary, echo and floor: none lost a datagram, and a binary datagram is 64 lookups."""
    found = side_by_side.compare_udp(tmp_path, 1, 0.2, QUIET)
    rows = {row["name"]: row for row in found["contestants"]}
    assert set(rows) == {"trinity", "trinity binary", "echo", "floor"}
    assert all(row["faults"] == {} for row in rows.values())
    assert rows["trinity binary"]["lookups_per_second"] == pytest.approx(
        64 * rows["trinity binary"]["per_second"], rel=0.01
    )
