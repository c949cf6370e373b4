"""trinity/node/compiling.py"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.machine_code import machine_code, share_machine_code
from trinity.compiled import jit_enabled
from trinity.node import compiling

ROOT = Path(__file__).resolve().parents[3]
# What `make` installs before all else.
FIRST = {"llvmlite", "msgspec", "numba", "numpy"}
# numba takes these where they are, and does without them.
OPTIONAL = {"_cffi_backend", "cffi", "coverage", "pycparser", "typing_extensions", "yaml"}
SCRIPT = """
import runpy, sys
from pathlib import Path
before = set(sys.modules)  # what the environment's own .pth files bring
runpy.run_module("trinity.node.compiling", run_name="__main__")
files = [getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items()) if name not in before]
print(*{Path(file).parts[Path(file).parts.index("site-packages") + 1] for file in files if "site-packages" in file})
"""


@pytest.mark.skipif(not jit_enabled(), reason="there is no machine code")
def test_everything_is_compiled_by_what_is_installed_first(tmp_path: Path) -> None:
    """It imports nothing that `make` installs later, and leaves the machine code where a node looks for it."""
    share_machine_code(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=os.environ | {"TRINITY_DATA_DIR": str(tmp_path)}, cwd=ROOT,
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    assert {name.partition(".")[0] for name in run.stdout.split()} <= FIRST | OPTIONAL
    roots = {path.name.partition("-")[0] for path in machine_code().iterdir()}
    assert {
        "workers.request.loop._serve", "feeds.consensus.integers.cycle.serve", "feeds.consensus.candles.follow",
        "feeds.ingest.intake.take_frames", "trinity.access.gate.admit_known",
    } <= roots  # fmt: skip


def test_make_installs_first_what_compiling_needs() -> None:
    """The names in the Makefile are these, and the lock has each of them."""
    pattern = f"/^({'|'.join(sorted(FIRST))})==/"
    assert pattern in (ROOT / "Makefile").read_text()
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert locked >= FIRST


def test_a_start_says_that_it_compiles_only_where_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, before it begins; what an earlier start left is loaded without a word."""
    compiling.compile_before_fork()
    said: list[str] = []
    compiling.compile_before_fork(said.append)
    assert said == []
    order: list[str] = []
    monkeypatch.setattr("workers.request.loop.is_compiled", lambda: False)
    monkeypatch.setattr(compiling, "_in_a_child", lambda warm_up: warm_up() or 0)
    monkeypatch.setattr("workers.request.loop.warm_up", lambda: order.append("compiled"))
    compiling.compile_before_fork(order.append)
    assert order == ["once after an installation or an update", "compiled", "compiled"]


def test_what_a_child_process_misses_is_no_error_of_the_parent() -> None:
    """The parent compiles it itself, and says then what is wrong."""

    def fail() -> None:
        raise OSError("no room")

    child = compiling._in_a_child(fail)
    assert os.waitpid(child, 0)[0] == child
