"""The rules of the house, checked: sizes, import direction, a test file for every source file, clean text."""

import ast
import functools
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pytest

from trinity.environment import ENVIRONMENT

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("trinity", "feeds", "workers", "benchmarks")
FUNCTION_LINES_MAX = 70
MODULE_LINES_MAX = 400

# What each room may import beside itself. `trinity` is the kernel: the modules of the package itself, which know of
# nothing above. A new room needs a row; rooms of `workers` stand apart, and feeds and workers never meet.
KERNEL, PROCESS = "trinity", "trinity/process"
BELOW = frozenset({
    KERNEL, PROCESS, "trinity/compiled", "trinity/memory", "trinity/native", "trinity/net", "trinity/access",
    "trinity/store", "trinity/cache", "trinity/observe", "trinity/push", "trinity/sync",
    "trinity/backup",
})  # fmt: skip
PRODUCT = BELOW | {
    "feeds/exchanges", "feeds/ingest", "feeds/consensus", "feeds/audit", "feeds/resolver", "feeds/simulator",
    "workers/request", "workers/ledger", "workers/access", "workers/api", "workers/push", "workers/cluster",
}  # fmt: skip
EVERYTHING = frozenset({"*"})
MAY_IMPORT = {
    KERNEL: frozenset[str](),
    PROCESS: frozenset({KERNEL, "trinity/memory", "trinity/net"}),
    "trinity/compiled": frozenset({KERNEL}),
    "trinity/memory": frozenset({KERNEL, "trinity/compiled"}),
    "trinity/native": frozenset({KERNEL, "trinity/compiled", "trinity/memory"}),
    "trinity/net": frozenset({KERNEL, "trinity/memory"}),
    "trinity/observe": frozenset({KERNEL, "trinity/memory"}),
    "trinity/store": frozenset({KERNEL}),
    "trinity/cache": frozenset({KERNEL}),
    "trinity/access": frozenset(
        {
            KERNEL,
            "trinity/compiled",
            "trinity/memory",
            "trinity/native",
            "trinity/store",
            "trinity/push",
        }
    ),
    "trinity/backup": frozenset({KERNEL, "trinity/store", "trinity/memory"}),
    "trinity/sync": frozenset({KERNEL, "trinity/store", "trinity/cache", "trinity/access"}),
    "trinity/push": frozenset({KERNEL, "trinity/store", "trinity/net"}),
    "trinity/balancer": frozenset({KERNEL, "trinity/net"}),
    "trinity/node": BELOW,
    "trinity/node/cluster": BELOW | {"trinity/node", "trinity/balancer"},
    "trinity/node/composition": EVERYTHING,
    "trinity/node/compiling": EVERYTHING,
    "trinity/node/roles": EVERYTHING,
    "trinity/node/settings": EVERYTHING,
    "trinity/cli": EVERYTHING,
    "feeds/exchanges": BELOW,
    "feeds/ingest": BELOW | {"feeds/exchanges"},
    "feeds/consensus": BELOW,
    "feeds/audit": BELOW | {"feeds/exchanges", "feeds/consensus"},
    "feeds/resolver": BELOW | {"feeds/exchanges", "feeds/ingest", "feeds/consensus"},
    "feeds/simulator": BELOW,
    "workers/request": BELOW,
    "workers/ledger": BELOW,
    "workers/access": BELOW,
    "workers/api": BELOW,
    "workers/push": BELOW,
    "workers/receiver": BELOW,
    "workers/cluster": BELOW,
    "workers/operator": BELOW,
    "workers/backup": BELOW,
    "workers/health": BELOW,
    "benchmarks": frozenset({KERNEL}),
    "benchmarks/__main__": EVERYTHING,
    "benchmarks/generators": BELOW | {"benchmarks"},
    "benchmarks/servers": PRODUCT | {"benchmarks", "benchmarks/generators", "trinity/node/cluster"},
    "benchmarks/feeds": PRODUCT | {"benchmarks", "benchmarks/generators", "benchmarks/servers"},
    "benchmarks/parts": PRODUCT
    | {"benchmarks", "benchmarks/generators", "benchmarks/servers", "benchmarks/feeds", "trinity/node/cluster"},
    "benchmarks/report": frozenset({KERNEL, "benchmarks"}),
}
# A module that belongs to another room than its folder's: the command line.
ROOM_OF = {"trinity/__main__": "trinity/cli"}
# The one place that reads the machine's clocks; benchmarks measure with them.
CLOCK = "trinity/clock.py"
# What carries records of any kind from the rings to the database.
LEDGER_S_WAY = (
    "kind", "disk/block", "disk/unit", "disk/spool", "disk/reserve", "disk/syncer", "sums", "drain", "pace", "ledger",
    "loader",
)  # fmt: skip

SOURCES = sorted(path.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))


def _room_of(module: str) -> str:
    """The room that a module, as a path without its suffix, stands in; "" for one that has none."""
    rooms = [room for room in MAY_IMPORT if module == room or module.startswith(f"{room}/")]
    return ROOM_OF.get(module) or max(rooms, key=len, default="")


def _imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Everything that is imported, also in functions and for types alone: as paths of modules or of their names."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name.replace(".", "/") for name in names}


class Facts(NamedTuple):
    """What the rules ask of a file. Its tree is not kept: the garbage collector would go through all of them."""

    lines: int
    docstring: str | None
    imported: set[str]
    functions: dict[str, int]
    claimless: list[str]
    classes: list[str]


@functools.cache
def facts_of(path: Path) -> Facts:
    text = (ROOT / path).read_text()
    tree = ast.parse(text)
    nodes = list(ast.walk(tree))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return Facts(
        lines=text.count("\n"),
        docstring=ast.get_docstring(tree),
        imported=_imported(nodes),
        functions={f"{path}: {node.name}": (node.end_lineno or 0) - node.lineno + 1 for node in functions},
        claimless=[node.name for node in functions if node.name.startswith("test_") and not ast.get_docstring(node)],
        classes=[node.name for node in nodes if isinstance(node, ast.ClassDef)],
    )


def _arrows(path: Path, imported: set[str]) -> set[str]:
    """The rooms that a file with these imports looks into and may not."""
    own = _room_of(str(path.with_suffix("")))
    may = MAY_IMPORT.get(own, frozenset())
    rooms = {_room_of(name) for name in imported} - {"", own}
    return set() if may == EVERYTHING else rooms - may


def test_modules_and_functions_are_short() -> None:
    """A module fits in the head: at most 400 lines, a function at most 70."""
    for path in (*SOURCES, *TESTS):
        facts = facts_of(path)
        assert facts.lines <= MODULE_LINES_MAX, path
        assert [name for name, lines in facts.functions.items() if lines > FUNCTION_LINES_MAX] == []


def test_a_module_opens_with_its_strategy_and_keeps_to_its_room() -> None:
    """Every module has a docstring, imports only what its room may, and leaves the clock to clock.py."""
    for path in SOURCES:
        facts = facts_of(path)
        assert facts.docstring, f"say what {path} does, and its rules"
        assert not _arrows(path, facts.imported), f"{path}: see MAY_IMPORT"
        if str(path) != CLOCK and path.parts[0] != "benchmarks":
            assert "time" not in {name.partition("/")[0] for name in facts.imported}, f"{path}: take a Clock"


@pytest.mark.parametrize(
    ("path", "text", "wrong"),
    [
        ("workers/api/base/x.py", "from workers.request.http.response import ERRORS", {"workers/request"}),
        ("workers/api/base/x.py", "def f() -> None:\n    import feeds.exchanges.kraken", {"feeds/exchanges"}),
        ("feeds/consensus/x.py", "from feeds.audit import recorder", {"feeds/audit"}),
        ("feeds/ingest/x.py", "from feeds.exchanges import contract\nfrom trinity import clock", set()),
        ("trinity/markets.py", "from trinity.observe import metrics", {"trinity/observe"}),
        ("trinity/markets.py", "from trinity import vocabulary", set()),
        ("trinity/process.py", "from trinity.memory.control import Control", set()),
        ("trinity/access/x.py", "from trinity.cli.text import table", {"trinity/cli"}),
        ("trinity/node/supervisor.py", "import workers.request.loop", {"workers/request"}),
        ("trinity/node/composition.py", "import workers.request.loop", set()),
        ("workers/new/x.py", "from trinity import clock", {"trinity"}),
        ("benchmarks/report/x.py", "from benchmarks.parts.feeds.wire import RATES", {"benchmarks/parts"}),
        ("benchmarks/generators/x.py", "from benchmarks.servers import node", {"benchmarks/servers"}),
        ("benchmarks/parts/x.py", "from benchmarks.feeds import sender\nimport workers.request.loop", set()),
    ],
)
def test_an_arrow_that_points_up_is_seen(path: str, text: str, wrong: set[str]) -> None:
    """Wherever the import stands in the file, and only that."""
    assert _arrows(Path(path), _imported(ast.walk(ast.parse(text)))) == wrong


def test_no_public_class_name_stands_twice() -> None:
    """A name means one thing in all rooms that run; only each exchange has its `Decoder`, as the contract calls it."""
    places: dict[str, list[Path]] = {}
    for path in (path for path in SOURCES if path.parts[0] != "benchmarks"):
        for name in facts_of(path).classes:
            if not name.startswith("_"):
                places.setdefault(name, []).append(path)
    assert {name for name, paths in places.items() if len(paths) > 1} == {"Decoder"}


@pytest.mark.parametrize("name", LEDGER_S_WAY)
def test_the_ledger_s_way_knows_no_kind_of_records(name: str) -> None:
    """From the rings to the database it is told the kind, and looks into no module of usage."""
    imported = facts_of(Path("workers/ledger", f"{name}.py")).imported
    usage = ("trinity/memory/usage_ring", "workers/ledger/usage/", "workers/ledger/rows")
    assert [path for path in imported if path.startswith(usage)] == []


def test_every_source_file_has_its_test_file() -> None:
    """trinity/clock.py is tested by tests/trinity/test_clock.py, and so on."""
    for path in SOURCES:
        name = path.stem.strip("_")  # __main__.py is tested by test_main.py
        assert path.name == "__init__.py" or (ROOT / "tests" / path.parent / f"test_{name}.py").exists(), path


def test_every_test_states_its_claim() -> None:
    """A test's docstring is the sentence that it proves."""
    for path in (path for path in TESTS if path.name.startswith("test_")):
        assert facts_of(path).claimless == [], path


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
        if path.suffix in {".png", ".svg", ".xz"} or not path.is_file():
            continue
        hits = wrong.findall(path.read_text())
        if wrong.search(path.read_text()):
            found[name] = hits
    assert not found


def test_every_setting_stands_in_the_readme() -> None:
    """Who runs a node finds each name of the environment in its table."""
    readme = (ROOT / "README.md").read_text()
    assert [name for name in ENVIRONMENT if f"`{name}`" not in readme] == []
