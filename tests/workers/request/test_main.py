"""workers/request/__main__.py"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trinity.compiled import jit_enabled, written_folder

ROOT = Path(__file__).resolve().parents[3]
# What `make` installs before all else.
FIRST = {"llvmlite", "msgspec", "numba", "numpy"}
# numba takes these where they are, and does without them.
OPTIONAL = {"_cffi_backend", "cffi", "coverage", "pycparser", "typing_extensions", "yaml"}
SCRIPT = """
import runpy, sys
from pathlib import Path
before = set(sys.modules)  # what the environment's own .pth files bring
runpy.run_module("workers.request", run_name="__main__")
files = [getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items()) if name not in before]
print(*{Path(file).parts[Path(file).parts.index("site-packages") + 1] for file in files if "site-packages" in file})
"""


@pytest.mark.skipif(not jit_enabled(), reason="there is no machine code")
def test_the_loop_is_compiled_by_what_is_installed_first(tmp_path: Path) -> None:
    """It imports nothing that `make` installs later, and leaves the loop where a node looks for it."""
    compiled = written_folder()
    assert compiled is not None
    (tmp_path / "compiled").symlink_to(compiled)
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=os.environ | {"TRINITY_DATA_DIR": str(tmp_path)}, cwd=ROOT,
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    assert {name.partition(".")[0] for name in run.stdout.split()} <= FIRST | OPTIONAL
    assert any(path.name.startswith("workers.request.loop._serve-") for path in compiled.iterdir())


def test_make_installs_first_what_the_loop_needs() -> None:
    """The names in the Makefile are these, and the lock has each of them."""
    pattern = f"/^({'|'.join(sorted(FIRST))})==/"
    assert pattern in (ROOT / "Makefile").read_text()
    locked = {line.partition("==")[0] for line in (ROOT / "requirements.lock").read_text().splitlines()}
    assert locked >= FIRST
