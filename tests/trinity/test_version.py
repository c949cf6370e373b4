"""trinity/version.py"""

import tomllib
from pathlib import Path

from trinity.version import version

ROOT = Path(__file__).resolve().parents[2]


def test_the_version_is_that_of_pyproject() -> None:
    """In a checkout its own file says it, whatever was installed before."""
    assert version() == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
