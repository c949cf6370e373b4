"""The rules of the house, checked: sizes, import direction, a test file for every source file, clean text."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from trinity.config import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("trinity", "feeds", "workers", "benchmarks")
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 400

# The composition root, and the commands: the only files of `trinity` that may import the rooms which they compose.
COMPOSITION = {"trinity/node/roles.py", "trinity/node/composition.py", *map(str, Path("trinity/cli").glob("*.py"))}
FORBIDDEN_IMPORTS = {
    "trinity": {"feeds", "workers", "benchmarks"},
    "feeds": {"workers", "benchmarks"},
    "workers": {"feeds", "benchmarks"},
    "benchmarks": set(),
}
# The one place that reads the machine's clocks; benchmarks measure with them.
CLOCK = "trinity/clock.py"

SOURCES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))


def _imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=str)
def test_modules_and_functions_are_short(path: Path) -> None:
    """A module fits in the head: at most 400 lines, a function at most 70."""
    text = (ROOT / path).read_text()
    assert text.count("\n") <= MODULE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < FUNCTION_LINES_MAX, f"{node.name} is too long"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_a_module_opens_with_its_strategy_and_keeps_to_its_room(path: Path) -> None:
    """Every module has a docstring, imports only what its room may, and leaves the clock to clock.py."""
    tree = ast.parse((ROOT / path).read_text())
    assert ast.get_docstring(tree), "say what the module does, and its rules"
    imported = _imported(tree)
    if str(path) not in COMPOSITION:
        assert not imported & FORBIDDEN_IMPORTS[path.parts[0]]
    if str(path) != CLOCK and path.parts[0] != "benchmarks":
        assert "time" not in imported, "take a Clock as an argument"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name != "__init__.py"], ids=str)
def test_every_source_file_has_its_test_file(path: Path) -> None:
    """trinity/clock.py is tested by tests/trinity/test_clock.py, and so on."""
    name = path.stem.strip("_")  # __main__.py is tested by test_main.py
    assert (ROOT / "tests" / path.parent / f"test_{name}.py").exists()


@pytest.mark.parametrize("path", [path for path in TESTS if path.name.startswith("test_")], ids=str)
def test_every_test_states_its_claim(path: Path) -> None:
    """A test's docstring is the sentence that it proves."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            assert ast.get_docstring(node), f"{node.name} has no claim"


def test_no_loose_ends_no_machine_paths_no_download_addresses() -> None:
    """What is committed is finished and speaks only of itself."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    wrong = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "/wo" + "rk/", "/ro" + "ot/", r"https?://\S+\.(whl|tgz)"]))
    found = {}
    for name in listed:
        path = ROOT / name
        if path.suffix in {".png", ".svg"} or not path.is_file():
            continue
        hits = wrong.findall(path.read_text())
        if wrong.search(path.read_text()):
            found[name] = hits
    assert not found


def test_every_setting_stands_in_the_readme() -> None:
    """Who runs a node finds each name of the environment in its table."""
    readme = (ROOT / "README.md").read_text()
    assert [name for name in ENVIRONMENT if f"`{name}`" not in readme] == []
