"""benchmarks/report/measured.py: what was measured is told from what only gave numbers."""

import json
from typing import Any

import pytest

from benchmarks.__main__ import _PARTS
from benchmarks.report.measured import _EVIDENCE, unmeasured


def test_every_result_of_every_part_has_its_evidence() -> None:
    """A part that is added without saying what it cannot do without is found here."""
    assert set(_EVIDENCE) == {name for part in _PARTS.values() for name in part}


@pytest.mark.parametrize("name", ["http", "udp", "levels", "pipelining", "half_peak", "user_mode", "access", "wire"])
def test_a_whole_result_is_measured(results: dict[str, Any], name: str) -> None:
    """What a run leaves is taken as it is."""
    assert unmeasured(name, results[name]) is None


@pytest.mark.parametrize(
    ("name", "path", "empty", "said"),
    [
        ("http", ("contestants", 1, "answered"), 0, "nginx: answered"),
        ("levels", ("udp", 1, "answered"), 0, "udp 2: answered"),
        ("levels", ("http", 0, "cpu_us"), float("inf"), "http 1: cpu_us"),
        ("half_peak", ("turns", 0, "answered"), 0, "turn 1"),
        ("access", ("new_ns",), float("nan"), "new_ns"),
        ("wire", ("rates", "2000", "frames"), 0, "2000: frames"),
        ("wire", ("rates", "20000", "quotes_per_second"), 0.0, "20000: quotes_per_second"),
        ("memory", ("pss_mib", "worker-0"), 0.0, "worker-0"),
        ("soak", ("samples", 1, "answered"), 0, "turn 2"),
        ("campaign", ("judged",), 0, "judged"),
    ],
)
def test_what_is_empty_is_named(
    results: dict[str, Any], name: str, path: tuple[Any, ...], empty: float, said: str
) -> None:
    """Zero, infinite and not a number are no measurement of anything that must be there."""
    found = json.loads(json.dumps(results[name]))  # no part of it is shared
    place = found
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = empty
    assert unmeasured(name, found) == f"nothing was measured of {said}"
