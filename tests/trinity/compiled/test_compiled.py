"""trinity/compiled/__init__.py"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trinity import compiled as module
from trinity.compiled import (
    cache_folders,
    compiled,
    compiled_allocating,
    jit_enabled,
    prepare_cache,
    write_cache_to,
    written_folder,
)

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
    assert any(tmp_path.rglob("*.code")) == (disabled == "0"), "machine code is kept in the data directory"


@pytest.mark.uncompiled
def test_a_compiled_function_gives_the_plain_result() -> None:
    """The decorator changes speed, not meaning."""

    @compiled
    def double(x: int) -> int:
        return 2 * x

    assert double(21) == 42
    assert jit_enabled() == hasattr(double, "py_func")


@pytest.mark.uncompiled
def test_a_tool_may_make_arrays() -> None:
    """`compiled_allocating` owns what it makes, and gives it to Python."""
    import numpy as np

    @compiled_allocating
    def squares(count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        made = np.zeros(count, dtype=np.int64)
        for i in range(count):
            made[i] = i * i
        return made

    assert squares(4).tolist() == [0, 1, 4, 9]


def test_what_comes_with_the_package_is_looked_for_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machine code is read from the package and the data directory, and written to the latter alone."""
    monkeypatch.setattr(module, "_read", [])
    monkeypatch.setattr(module, "_written", [])
    assert written_folder() is None
    assert prepare_cache(tmp_path) == written_folder() == tmp_path / "compiled"
    assert cache_folders() == (module.SHIPPED, tmp_path / "compiled")
    write_cache_to(tmp_path / "shipped")
    assert cache_folders() == (tmp_path / "shipped",)
    assert written_folder() == tmp_path / "shipped"
    assert (tmp_path / "shipped").is_dir()
