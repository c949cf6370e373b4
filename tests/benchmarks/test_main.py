"""The command line of the benchmarks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main


def test_one_part_runs_and_leaves_json_table_and_plots(tmp_path: Path) -> None:
    """`python -m benchmarks pipeline` exits 0, prints its table and writes it with the JSON."""
    command = [sys.executable, "-m", "benchmarks", "pipeline", "--turns", "1", "--seconds", "0.2", "--seed", "5"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert "HTTP pipelining" in done.stdout
    document = json.loads((tmp_path / "results.json").read_text())
    assert document["run"]["seed"] == 5
    assert list(document["measured"]) == ["pipelining"]
    assert "pipelining 16" in done.stderr


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """argparse names the parts that exist."""
    with pytest.raises(SystemExit):
        main(["everything"])
    assert "levels" in capsys.readouterr().err
