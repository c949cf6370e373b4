"""`trinity simulate | compile --json`: lines for people go elsewhere, the end is an object."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from tests.trinity.cli.conftest import Run


def test_compile_says_when_it_is_done(trinity_json: Run) -> None:
    """One object, exit code 0."""
    assert trinity_json("compile") == (0, {"exit_code": 0, "message": ""}, None)


def test_the_end_of_a_simulation_is_an_object(tmp_path: Path) -> None:
    """Standard output has nothing else; where the exchanges are stands on standard error."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    settings = {"SIMULATOR_PORT": str(port), "TRINITY_DATA_DIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-m", "trinity", "simulate", "--json"],
        env=dict(os.environ) | settings, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as run:  # fmt: skip
        assert run.stderr is not None
        assert run.stderr.readline().startswith("SIMULATED")
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", port)) != 0:
                assert run.poll() is None
        run.send_signal(signal.SIGTERM)
        out, _ = run.communicate(timeout=30)
    assert json.loads(out) == {"exit_code": 0, "message": ""}


def test_compile_writes_what_an_image_carries(tmp_path: Path) -> None:
    """All that a node needs, and for what machine it is, in a folder that holds nothing of before."""
    (tmp_path / "old.code").write_bytes(b"old")
    command = [sys.executable, "-m", "trinity", "compile", "--json", "--out", str(tmp_path)]
    settings = {"TRINITY_DATA_DIR": str(tmp_path / "data"), "NUMBA_DISABLE_JIT": "1"}  # what it writes: test_shipped.py
    run = subprocess.run(command, env=dict(os.environ) | settings, capture_output=True, text=True, timeout=60)
    assert json.loads(run.stdout) == {"exit_code": 0, "message": "", "files": 0, "bytes": 0}
    assert (tmp_path / "MADE_FOR").exists()
    assert not (tmp_path / "old.code").exists()
