"""trinity/compiled/store.py"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trinity.compiled import jit_enabled

if not jit_enabled():
    pytest.skip("there is no machine code", allow_module_level=True)

# Counts what numba compiles while a cell is published and read, the value of a word behind its end included.
SCRIPT = """
import sys
from pathlib import Path
from trinity.compiled import prepare_cache
prepare_cache(Path(sys.argv[1]))
import numpy as np
from numba.core import event
from trinity.memory.cell import publish, snapshot
with event.install_recorder("numba:compile") as seen:
    words, value = np.zeros(24, dtype=np.uint64), np.arange(8, dtype=np.uint64)
    publish(words, 0, 8, value)
    assert snapshot(words, 0, 8, value) and value.tolist() == list(range(8))
    try:
        publish(words, 20, 8, value)
    except IndexError as error:
        print(type(error).__name__)
print(sum(happened.is_start for _, happened in seen.buffer))
"""


def _run(folder: Path) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.split()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory in which the two functions are."""
    folder = tmp_path_factory.mktemp("made")
    assert _run(folder) == ["IndexError", "2"]
    return folder


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "compiled").iterdir())


def test_another_process_compiles_nothing(made: Path, tmp_path: Path) -> None:
    """It finds the files, in another folder as well: they hold no path and no time."""
    names = [path.name.partition("-")[0] for path in _files(made)]
    assert names == ["trinity.memory.cell.publish", "trinity.memory.cell.snapshot"]
    moved = tmp_path / "moved"
    (moved / "compiled").mkdir(parents=True)
    for path in _files(made):
        (moved / "compiled" / path.name).write_bytes(path.read_bytes())
        os.utime(moved / "compiled" / path.name, (1, 1))
    assert _run(moved) == ["IndexError", "0"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_file_is_written_again(made: Path, tmp_path: Path, damage: str) -> None:
    """It is never executed, and the next process finds a good one."""
    (tmp_path / "compiled").mkdir()
    for path in _files(made):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= damage == "flipped"
        keep = {"cut": len(content) - 1, "flipped": len(content), "empty": 0}[damage]
        (tmp_path / "compiled" / path.name).write_bytes(content[:keep])
    assert _run(tmp_path) == ["IndexError", "2"]
    assert _run(tmp_path) == ["IndexError", "0"]


def test_only_its_owner_reads_it(made: Path) -> None:
    """What will be executed is nobody else's to write."""
    assert {path.stat().st_mode & 0o777 for path in _files(made)} == {0o600}
