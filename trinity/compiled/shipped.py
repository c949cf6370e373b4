"""Machine code that comes with the package: for what it was made, and why it is not used where it is not.

    trinity/compiled/shipped/*.code     as store.py writes them; `trinity compile --out` puts them there
    trinity/compiled/shipped/MADE_FOR   for people: Python, libraries and CPU in one line

The names of the files decide what is used (fingerprint.py); the line only explains. A checkout has no such folder.
"""

import platform
from pathlib import Path

import llvmlite
import numba
import numpy as np

from trinity.compiled import SHIPPED
from trinity.compiled.cpu import cpu
from trinity.files import Durability, write_whole

_MADE_FOR = "MADE_FOR"
_READABLE = 0o644


def made_for() -> str:
    """What machine code of this process is for."""
    libraries = f"numba {numba.__version__}, llvmlite {llvmlite.__version__}, numpy {np.__version__}"
    return f"{platform.python_implementation()} {platform.python_version()}, {libraries}, {platform.machine()} {cpu()}"


def finish(folder: Path) -> tuple[int, int]:
    """Say for what the files in `folder` were made, and let everybody read them: how many they are, and their bytes."""
    files = list(folder.glob("*.code"))
    for file in files:
        file.chmod(_READABLE)  # an image is built by root and run by somebody else
    write_whole(folder / _MADE_FOR, [f"{made_for()}\n".encode()], Durability.RENAMED, mode=_READABLE)
    return len(files), sum(file.stat().st_size for file in files)


def why_compiling(folder: Path = SHIPPED) -> str:
    """Why what came with the package is not used, in words that go on behind "compiling"."""
    try:
        made = (folder / _MADE_FOR).read_text().strip()
    except FileNotFoundError:
        return "once after an installation or an update"
    if made != made_for():
        return f"because the package's machine code is for {made}, and this is {made_for()}"
    return "because sources were changed since the package was made"
