"""trinity/extras.py"""

import re
import tomllib
from pathlib import Path

from trinity.errors import MissingExtraError
from trinity.extras import EXTRA_OF, missing_extra

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]
# Where a library is imported under another name than it is installed.
INSTALLED_AS = {"hdrh": "hdrhistogram"}


def test_a_missing_library_is_told_with_its_extra() -> None:
    """Also when a part of it was imported; a module of no extra stays the error that it is."""
    error = missing_extra(ModuleNotFoundError("no", name="pyarrow.parquet"))
    assert isinstance(error, MissingExtraError)
    assert (error.module, error.extra) == ("pyarrow", "parquet")
    for ours in (ModuleNotFoundError("no", name="trinity.gone"), ModuleNotFoundError("no")):
        assert missing_extra(ours) is ours


def test_the_extras_bring_what_they_are_named_for_and_a_node_does_without() -> None:
    """pyproject.toml and the table agree; none of these libraries is a dependency of the package itself."""
    needed = {re.split(r"\W", line)[0] for line in PROJECT["dependencies"]}
    for module, extra in EXTRA_OF.items():
        name = INSTALLED_AS.get(module, module)
        assert name in {re.split(r"\W", line)[0] for line in PROJECT["optional-dependencies"][extra]}
        assert name not in needed
