"""What `make` installs before all else, and which modules compile with nothing but that."""

import os
import subprocess
import sys
from pathlib import Path

from trinity.compiled import written_folder

ROOT = Path(__file__).resolve().parents[2]
FIRST = {"llvmlite", "msgspec", "numba", "numpy"}
# numba takes these where they are, and does without them.
OPTIONAL = {"_cffi_backend", "cffi", "coverage", "pycparser", "typing_extensions", "yaml"}
_SCRIPT = """
import runpy, sys
from pathlib import Path
before = set(sys.modules)  # what the environment's own .pth files bring
runpy.run_module(sys.argv[1], run_name="__main__")
files = [getattr(module, "__file__", None) or "" for name, module in list(sys.modules.items()) if name not in before]
print(*{Path(file).parts[Path(file).parts.index("site-packages") + 1] for file in files if "site-packages" in file})
"""


def compile_with_what_is_first(module: str, folder: Path) -> set[str]:
    """Run the module, which must import nothing else; the names of the roots that a node then finds compiled."""
    compiled = written_folder()
    assert compiled is not None
    (folder / "compiled").symlink_to(compiled)
    run = subprocess.run(
        [sys.executable, "-c", _SCRIPT, module], env=os.environ | {"TRINITY_DATA_DIR": str(folder)}, cwd=ROOT,
        capture_output=True, text=True, timeout=600, check=True,
    )  # fmt: skip
    assert {name.partition(".")[0] for name in run.stdout.split()} <= FIRST | OPTIONAL
    return {path.name.partition("-")[0] for path in compiled.iterdir()}
