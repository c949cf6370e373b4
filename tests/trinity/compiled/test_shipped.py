"""trinity/compiled/shipped.py, and a wheel that carries machine code to another machine's first start"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node.harness import new_node
from trinity.compiled import jit_enabled

if not jit_enabled():
    pytest.skip("there is no machine code", allow_module_level=True)

from trinity.compiled.shipped import finish, made_for, why_compiling

ROOT = Path(__file__).resolve().parents[3]


def test_the_reason_for_compiling_is_told(tmp_path: Path) -> None:
    """A checkout has nothing, a package may be for another machine, and on the same one its sources were changed."""
    assert why_compiling(tmp_path / "none") == "once after an installation or an update"
    (tmp_path / "MADE_FOR").write_text("CPython 2.7, numba 0.1, vax\n")
    reason = f"because the package's machine code is for CPython 2.7, numba 0.1, vax, and this is {made_for()}"
    assert why_compiling(tmp_path) == reason
    (tmp_path / "MADE_FOR").write_text(f"{made_for()}\n")
    assert why_compiling(tmp_path) == "because sources were changed since the package was made"


def test_what_is_shipped_can_be_read_by_everybody(tmp_path: Path) -> None:
    """An image is built by root and run by somebody else."""
    (tmp_path / "a.b-c.code").write_bytes(b"12345")
    (tmp_path / "a.b-c.code").chmod(0o600)
    assert finish(tmp_path) == (1, 5)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}
    assert (tmp_path / "MADE_FOR").read_text() == f"{made_for()}\n"


def _run(*command: str | Path, cwd: Path) -> str:
    run = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a wheel with machine code was installed, as `make wheel` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("trinity", "feeds", "workers", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "shipped"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    _run(sys.executable, "-m", "trinity", "compile", "--out", "trinity/compiled/shipped", cwd=source)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    _run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", folder, ".", cwd=source)
    (wheel,) = folder.glob("*.whl")
    _run(*pip, "install", "--no-deps", "--no-index", "--target", folder / "installed", wheel, cwd=folder)
    shutil.rmtree(source)
    return folder / "installed"


@pytest.mark.long
def test_the_first_start_from_a_wheel_compiles_nothing(installed: Path, tmp_path: Path) -> None:
    """Every function that any process of the node calls came with the wheel: none is written to the data directory."""
    (tmp_path / "compiled").mkdir()  # otherwise it would be the tests' own
    with new_node(tmp_path, PYTHONPATH=str(installed), PYTHONSAFEPATH="1") as node:
        node.start()
        node.wait_ready()
        node.wait_reports_ready()
        node.wait_database()
        assert node.price("BTC")[0] == 200
        node.stop()
        assert "compiling" not in node.output()
    assert list((tmp_path / "compiled").iterdir()) == []


PUBLISH = """
import sys
from pathlib import Path
import trinity
from trinity.compiled import prepare_cache
folder = prepare_cache(Path(sys.argv[1]))
import numpy as np
from trinity.memory.cell import publish
publish(np.zeros(24, dtype=np.uint64), 0, 8, np.ones(8, dtype=np.uint64))
print(Path(trinity.__file__).parent.parent, *(path.name.partition("-")[0] for path in folder.iterdir()))
"""


def _publish(package: Path, data_dir: Path, **environment: str) -> list[str]:
    settings = os.environ | {"PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"} | environment
    command = [sys.executable, "-c", PUBLISH, str(data_dir)]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120, check=True).stdout.split()


@pytest.mark.long
def test_machine_code_that_does_not_fit_is_not_executed(installed: Path, tmp_path: Path) -> None:
    """For another CPU, or with a byte changed, it is compiled anew into the data directory; otherwise it is used."""
    package, compiled = tmp_path / "installed", "trinity.memory.cell.publish"
    shutil.copytree(installed, package)
    assert _publish(package, tmp_path / "fits") == [str(package)]
    other = _publish(package, tmp_path / "other", NUMBA_CPU_NAME="x86-64", NUMBA_CPU_FEATURES="")
    assert other == [str(package), compiled]
    (path,) = (package / "trinity" / "compiled" / "shipped").glob(f"{compiled}-*.code")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert _publish(package, tmp_path / "damaged") == [str(package), compiled]
