"""trinity/backup/target.py"""

import os
from pathlib import Path

import pytest

from trinity.backup.crypt import ByteSink
from trinity.backup.target import DirectoryTarget, Stored, open_target, read_bytes, recognise, write_bytes
from trinity.errors import BackupTargetError, ConfigError


def test_an_object_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    """What breaks off leaves nothing, and what stood under the name before stays."""
    target = DirectoryTarget(tmp_path)

    def broken(sink: ByteSink) -> None:
        sink.write(b"half")
        raise ZeroDivisionError

    for before in ([], [Stored("a/b", 5)]):
        with pytest.raises(ZeroDivisionError):
            target.write("a/b", broken)
        assert list(target.stored("")) == before
        assert write_bytes(target, "a/b", b"whole") == 5
    assert read_bytes(target, "a/b", 5) == b"whole"
    target.delete("a/b")
    target.delete("a/b")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_writer_left_is_no_object_and_is_cleared(tmp_path: Path) -> None:
    """Drafts are not listed."""
    target = DirectoryTarget(tmp_path)
    (tmp_path / "x.age.1.draft").touch()
    assert list(target.stored("")) == []
    target.delete_drafts(0)
    assert len(list(tmp_path.iterdir())) == 1
    target.delete_drafts(2**40)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_the_targets_error() -> None:
    """With what to do."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")

    class Full(DirectoryTarget):
        def __init__(self) -> None:
            super().__init__(Path("/dev"))

    target = Full()
    error = target.refused(OSError(28, os.strerror(28)))
    assert "make room" in str(error)


def test_a_folder_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    """Every question to it is an error that says so."""
    target = DirectoryTarget(tmp_path / "away")
    for ask in (
        lambda: write_bytes(target, "a/b", b""),
        lambda: list(target.stored("")),
        lambda: read_bytes(target, "a/b", 1),
        lambda: recognise(target, None),
    ):
        with pytest.raises(BackupTargetError, match="mounted"):
            ask()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_place_gets_a_mark_and_is_known_by_it(tmp_path: Path) -> None:
    """Whoever remembers the mark is not led to another place."""
    target = DirectoryTarget(tmp_path)
    known = recognise(target, None)
    assert recognise(target, known) == known
    with pytest.raises(BackupTargetError, match="another one"):
        recognise(target, "00000000-0000-4000-8000-000000000000")
    (tmp_path / "trinity-backup.json").unlink()
    with pytest.raises(BackupTargetError, match="mounted"):
        recognise(target, known)
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(BackupTargetError, match="other things"):
        recognise(target, None)


@pytest.mark.parametrize(
    "mark", [b"", b"{}", b'{"format": 2, "id": "x"}', b'{"format": 1, "id": "x"}', b"[]", b"x" * 5000]
)
def test_a_damaged_mark_is_told(tmp_path: Path, mark: bytes) -> None:
    """Nothing is written beside it."""
    (tmp_path / "trinity-backup.json").write_bytes(mark)
    with pytest.raises(BackupTargetError):
        recognise(DirectoryTarget(tmp_path), None)


@pytest.mark.parametrize("address", ["relative/folder", "ftp://host/x", "s3:///x", "s3://bucket/x?y=1"])
def test_an_address_that_is_none_names_the_setting(address: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigError, match="BACKUP_TARGET"):
        open_target(address)
