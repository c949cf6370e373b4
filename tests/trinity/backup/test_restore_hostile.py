"""trinity/backup/restore.py under what goes wrong in a disaster: wrong seconds, lost and swapped objects, a kill."""

import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.backups import CLOCK, IDENTITY, LOG, BackedUp, notes_in, wait_for
from tests.support.database import TEST_SETTINGS
from trinity.backup.catalog import read_catalog
from trinity.backup.restore import restore_into
from trinity.backup.target import DirectoryTarget
from trinity.errors import BackupDamagedError, RestoreError


@pytest.fixture(scope="module")
def backed_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackedUp]:
    """Two bases, rows before, between and behind them, and a log that reaches beyond."""
    with BackedUp(tmp_path_factory.mktemp("hostile")) as made:
        made.write("one")
        made.base()
        made.write("two")
        made.ship()
        made.base()
        made.write("three")
        made.ship()
        yield made


@pytest.fixture
def copied(backed_up: BackedUp, tmp_path: Path) -> Iterator[DirectoryTarget]:
    """The target's content, to be damaged."""
    shutil.copytree(backed_up.place, tmp_path / "copied")
    return DirectoryTarget(tmp_path / "copied")


def _restore(target: DirectoryTarget, folder: Path, to_time: int | None = None) -> list[str]:
    restored = restore_into(
        folder, target, read_catalog(target), to_time, [IDENTITY], CLOCK, LOG, settings=TEST_SETTINGS
    )
    return list(notes_in(restored))


def _pieces(target: DirectoryTarget) -> list[Path]:
    return sorted((Path(target.shown) / read_catalog(target).system / "wal").rglob("*.age"))


def test_the_newest_second_that_is_promised_can_be_restored(backed_up: BackedUp, tmp_path: Path) -> None:
    """Nothing was committed behind it but our own mark: PostgreSQL refuses a moment that its log does not reach."""
    window = read_catalog(backed_up.target).window()
    assert window is not None
    assert _restore(DirectoryTarget(backed_up.place), tmp_path / "newest", window.newest) == ["one", "two", "three"]


def test_the_earliest_second_that_is_promised_can_be_restored(backed_up: BackedUp, tmp_path: Path) -> None:
    """The window's first second is no promise that only later ones keep."""
    window = read_catalog(backed_up.target).window()
    assert window is not None
    assert _restore(DirectoryTarget(backed_up.place), tmp_path / "earliest", window.earliest)[0] == "one"


@pytest.mark.parametrize("away", [-1, 1])
def test_a_second_before_the_first_base_or_beyond_the_log_is_refused(
    backed_up: BackedUp, tmp_path: Path, away: int
) -> None:
    """With the moments that can be restored; nothing is fetched for it."""
    window = read_catalog(backed_up.target).window()
    assert window is not None
    wanted = window.earliest - 1 if away < 0 else window.newest + 3600
    with pytest.raises(RestoreError, match="cannot be restored"):
        _restore(DirectoryTarget(backed_up.place), tmp_path / "none", wanted)
    assert not list((tmp_path / "none").glob("*"))


def test_behind_a_hole_in_the_log_the_newest_moment_is_before_it(
    backed_up: BackedUp, copied: DirectoryTarget, tmp_path: Path
) -> None:
    """The last piece is gone: what was promised shrinks; nothing is restored that pretends to be newer."""
    whole = read_catalog(copied).window()
    assert whole is not None
    _pieces(copied)[-1].unlink()
    left = read_catalog(copied).window()
    assert left is not None
    assert left.newest < whole.newest
    with pytest.raises(RestoreError):
        _restore(copied, tmp_path / "beyond", whole.newest)
    assert _restore(copied, tmp_path / "before", left.newest)[0] == "one"


def test_bases_without_any_log_restore_nothing_and_say_so(copied: DirectoryTarget, tmp_path: Path) -> None:
    """A base is consistent only with the log of its own time."""
    for piece in _pieces(copied):
        piece.unlink()
    with pytest.raises(RestoreError, match="the log that it needs"):
        _restore(copied, tmp_path / "none")
    assert not (tmp_path / "none" / "database").exists()


def test_a_piece_in_another_ones_place_is_found(copied: DirectoryTarget, tmp_path: Path) -> None:
    """Both are whole and were sealed by us: only their places are wrong."""
    one, other = _pieces(copied)[-2:]
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    with pytest.raises(BackupDamagedError):
        _restore(copied, tmp_path / "swapped")
    assert not list((tmp_path / "swapped").glob("*"))


def test_a_base_that_is_damaged_leaves_the_older_one(
    backed_up: BackedUp, copied: DirectoryTarget, tmp_path: Path
) -> None:
    """It is found before a server starts; the older base with its log restores the same moment."""
    newest = read_catalog(copied).bases[-1]
    place = Path(copied.shown) / newest.system / "base" / newest.label
    data = bytearray((place / "data.age").read_bytes())
    data[len(data) // 2] ^= 1
    (place / "data.age").write_bytes(data)
    with pytest.raises(BackupDamagedError):
        _restore(copied, tmp_path / "damaged")
    shutil.rmtree(place)
    assert _restore(copied, tmp_path / "older") == ["one", "two", "three"]


def test_a_restore_that_is_killed_in_the_middle_leaves_nothing_that_looks_restored(
    backed_up: BackedUp, tmp_path: Path
) -> None:
    """SIGKILL while the server recovers: the next one into the same folder clears up and succeeds."""
    folder = tmp_path / "killed"
    target = DirectoryTarget(backed_up.place)

    def work() -> None:
        def stand_still() -> None:
            signal.pause()

        restore_into(
            folder, target, read_catalog(target), None, [IDENTITY], CLOCK, LOG, stand_still, settings=TEST_SETTINGS
        )

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    wait_for(lambda: (folder / "restoring" / "database" / "cluster" / "postmaster.pid").exists())
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    assert not (folder / "database").exists()
    assert _restore(target, folder) == ["one", "two", "three"]
