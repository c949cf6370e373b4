"""The plots are drawn from a results document."""

from pathlib import Path
from typing import Any

from benchmarks.report.plots import draw_all


def test_each_plot_is_a_png_and_an_svg(tmp_path: Path, results: dict[str, Any]) -> None:
    """Levels, both contests and the soak are drawn in both formats."""
    files = draw_all(tmp_path, results)
    names = {"levels", "side_by_side_http", "side_by_side_udp", "soak"}
    assert {file.name for file in files} == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    for file in files:
        begin = file.read_bytes()[:100]
        assert begin.startswith(b"\x89PNG") if file.suffix == ".png" else b"<?xml" in begin


def test_nothing_measured_draws_nothing(tmp_path: Path) -> None:
    """Results without those parts leave no file."""
    assert draw_all(tmp_path, {}) == []
