"""trinity/compiled.py"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trinity import compiled as module
from trinity.compiled import compiled, jit_enabled, prepare_cache

OVERRUN = """
import sys
from pathlib import Path
from trinity.compiled import prepare_cache
prepare_cache(Path(sys.argv[1]))
import numpy as np
from trinity.memory.atomics import load_acquire
try:
    load_acquire(np.zeros(1, np.uint64), 1)
except IndexError:
    print("refused")
"""


@pytest.mark.parametrize("disabled", ["0", "1"])
def test_an_overrun_raises_compiled_and_uncompiled(tmp_path: Path, disabled: str) -> None:
    """Bounds checks are on in machine code, and the plain twin behaves the same."""
    environment = os.environ | {"NUMBA_DISABLE_JIT": disabled}
    command = [sys.executable, "-c", OVERRUN, str(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.strip() == "refused"
    assert any(tmp_path.rglob("*.nbi")) == (disabled == "0"), "machine code is kept in the data directory"


def test_a_changed_source_gets_another_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stale machine code cannot be loaded: the folder's name is a hash of every source that it comes from."""
    before = prepare_cache(tmp_path)
    (tmp_path / "trinity" / "memory").mkdir(parents=True)
    (tmp_path / "trinity" / "memory" / "new.py").write_text("x = 1\n")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "trinity" / "compiled.py"))
    try:
        assert prepare_cache(tmp_path) != before
    finally:
        monkeypatch.undo()
        prepare_cache(Path(os.environ.get("TRINITY_DATA_DIR", Path(__file__).parents[2] / ".data")))


@pytest.mark.uncompiled
def test_a_compiled_function_gives_the_plain_result() -> None:
    """The decorator changes speed, not meaning."""

    @compiled
    def double(x: int) -> int:
        return 2 * x

    assert double(21) == 42
    assert jit_enabled() == hasattr(double, "py_func")


def test_compiled_functions_lie_only_in_the_hashed_sources() -> None:
    """A compiled function elsewhere would be loaded from the cache after its source changed."""
    root = Path(module.__file__).parent.parent
    hashed = {path for pattern in module.COMPILED_SOURCES for path in root.glob(pattern)}
    users = {
        path
        for package in ("trinity", "feeds", "workers", "benchmarks")
        for path in (root / package).rglob("*.py")
        if "trinity.compiled import compiled" in path.read_text()
    }
    assert users, "there are some"
    assert users <= hashed
