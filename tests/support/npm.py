"""Clients out of the npm registry, for tests that need node."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.machine_code import machine_code

_INSTALL = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
_INSTALL_SECONDS = 300


def installed(package: Path) -> Path:
    """The folder in which what this package's lock names is installed, once, beside the compiled code."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs node and npm")
    folder = machine_code().parent / f"npm-{package.name}"
    folder.mkdir(parents=True, exist_ok=True)
    lock = (package / "package-lock.json").read_text()
    done = folder / "installed"
    if not done.exists() or done.read_text() != lock:
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(package / name, folder / name)
        result = subprocess.run(_INSTALL, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS)
        if result.returncode:
            pytest.skip(f"npm cannot install the client: {result.stderr[-300:]}")
        done.write_text(lock)
    return folder
