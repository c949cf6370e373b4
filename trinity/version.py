"""The version of this program: one number, that of pyproject.toml.

Rules: a checkout is what its pyproject.toml says, whatever was installed from it before; an installation is what its
metadata says, which was made from the same file.
"""

import functools
import importlib.metadata
import tomllib
from pathlib import Path

DISTRIBUTION = "trinity-oracle"
_PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


@functools.cache
def version() -> str:
    """Such as "0.2.0"."""
    try:
        project = tomllib.loads(_PROJECT.read_text())["project"]
    except FileNotFoundError:
        return importlib.metadata.version(DISTRIBUTION)
    return str(project["version"])
