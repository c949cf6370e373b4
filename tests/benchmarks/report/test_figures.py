"""Figures are judged from what was measured, and extrapolation stays apart."""

from typing import Any

from benchmarks.report.figures import FIGURES, binary_lookups, extrapolate, judge

HTTP = {"ratio_of_ours": {"nginx": 0.8, "go": 0.5}, "contestants": [{"cpu_us": 10.0}]}


def test_only_what_was_measured_is_judged() -> None:
    """Without Go, Go's figure is left out; each sense is compared its own way."""
    results: dict[str, Any] = {
        "http": {**HTTP, "ratio_of_ours": {"nginx": 0.8}},
        "pipelining": {"gain": 3.9},
        "user_mode": {"pure": {"http_us": 0.9}},
    }
    judged = {reached.name: reached.reached for reached in judge(results)}
    assert judged == {
        "HTTP /price: ours / nginx static return": True,
        "HTTP pipelined by 16 / not pipelined": False,
        "HTTP request: parse, checks and copy": True,
    }
    assert judge({}) == []


def test_a_figure_at_its_limit_is_reached_and_beyond_it_is_not() -> None:
    """The limit itself counts as reached."""
    for gain, reached in ((4.0, True), (3.99, False)):
        assert judge({"pipelining": {"gain": gain}})[0].reached is reached


def test_binary_lookups_count_a_second_of_processor() -> None:
    """64 lookups a datagram at 20 us a datagram are 3.2 million a second."""
    row = {"name": "trinity binary", "per_second": 40_000.0, "lookups_per_second": 2_560_000.0, "cpu_us": 20.0}
    assert binary_lookups({"contestants": [row]}) == 3_200_000


def test_extrapolation_says_that_it_is_one() -> None:
    """Eight processors at 10 us are 800,000 requests/s, under a name and a note that say extrapolated."""
    found = extrapolate({"http": HTTP})
    assert found["http"]["requests_per_second_of_eight_EXTRAPOLATED"] == 800_000
    assert "extrapolated" in found["note"]
    assert extrapolate({}) == {}
    assert len({figure.name for figure in FIGURES}) == len(FIGURES)
