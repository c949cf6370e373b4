"""The command line of the benchmarks."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import _PARTS, EXIT_FAILED, Measure, main
from benchmarks.errors import PeerError
from tests.support.short_parts import QUICK, measure_short


@pytest.mark.parametrize("part", QUICK)
def test_every_part_runs_short_and_measures(part: str, tmp_path: Path) -> None:
    """From the command line, but for those of `test_main_slow_parts.py`."""
    measure_short(part, tmp_path)


def _fails(*_: object) -> dict[str, Any]:
    raise PeerError("node", "no fresh price")


def _breaks(*_: object) -> dict[str, Any]:
    raise ZeroDivisionError("no answers")


def _needs_an_extra(*_: object) -> dict[str, Any]:
    raise ModuleNotFoundError("No module named 'ccxt'", name="ccxt")


def _is_empty(*_: object) -> dict[str, Any]:
    return {"events_per_second": 0}


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (_fails, "streams could not be measured: node: no fresh price"),
        (_breaks, "streams could not be measured: ZeroDivisionError('no answers')"),
        (_needs_an_extra, "streams could not be measured: ccxt is not installed: it comes with the extra bench: "),
        (_is_empty, "streams could not be measured: streams: nothing was measured of events_per_second"),
    ],
)
def test_a_part_that_cannot_measure_fails_and_says_why(
    measure: Measure, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever went wrong: exit code 1, the reason, and no figure of it among the results."""
    monkeypatch.setitem(_PARTS, "streams", {"streams": measure})  # type: ignore[misc]
    assert main(["streams", "--out", str(tmp_path)]) == EXIT_FAILED
    assert said in capsys.readouterr().err
    assert json.loads((tmp_path / "results.json").read_text())["measured"] == {}


def test_without_matplotlib_there_are_tables_and_no_plots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after `make demo`: it is said what is missing, and how to get it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "benchmarks.report.plots", raising=False)
    monkeypatch.setitem(_PARTS, "streams", {})  # type: ignore[misc]
    assert main(["streams", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "no plots: matplotlib is not installed: it comes with the extra bench: pip install" in printed.err
    assert f"results: {tmp_path}" in printed.out


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """argparse names the parts that exist."""
    with pytest.raises(SystemExit):
        main(["everything"])
    assert "levels" in capsys.readouterr().err
