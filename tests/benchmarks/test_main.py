"""The command line of the benchmarks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import _PARTS, EXIT_FAILED, Measure, main
from benchmarks.errors import PeerError

# As short as a part can be: what it measures then is little, but it has to measure it.
SHORT = {
    "turns": 1, "seconds": 0.2, "soak-seconds": 2, "soak-rate": 500, "wire-seconds": 3, "stream-seconds": 1,
    "stream-clients": 50,
    "ledger-seconds": 1, "minutes": 0.1, "workers": 1, "rows": 20_000, "keys": 1_000, "refusals": 20_000, "seed": 5,
}  # fmt: skip


@pytest.mark.parametrize("part", _PARTS)
def test_every_part_runs_short_and_measures(part: str, tmp_path: Path) -> None:
    """From the command line: exit code 0, and in the JSON, the table and the plots all that the part measures."""
    short = [f"--{name}={value}" for name, value in SHORT.items()]
    command = [sys.executable, "-m", "benchmarks", part, *short, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["run"]["seed"] == 5
    assert list(document["measured"]) == list(_PARTS[part])


def _fails(*_: object) -> dict[str, Any]:
    raise PeerError("node", "no fresh price")


def _breaks(*_: object) -> dict[str, Any]:
    raise ZeroDivisionError("no answers")


def _is_empty(*_: object) -> dict[str, Any]:
    return {"events_per_second": 0}


@pytest.mark.parametrize(
    ("measure", "said"),
    [
        (_fails, "streams could not be measured: node: no fresh price"),
        (_breaks, "streams could not be measured: ZeroDivisionError('no answers')"),
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


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """argparse names the parts that exist."""
    with pytest.raises(SystemExit):
        main(["everything"])
    assert "levels" in capsys.readouterr().err
