"""trinity/files.py"""

import errno
import os
import stat
from pathlib import Path

import pytest

from trinity.files import Durability, write_whole

pytestmark = pytest.mark.uncompiled


@pytest.mark.parametrize("durability", Durability)
def test_a_file_is_replaced_whole_and_belongs_to_its_owner(tmp_path: Path, durability: Durability) -> None:
    """Whatever was there, a draft of somebody else included."""
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    draft = tmp_path / "a.bin.new"
    draft.write_bytes(b"left by a killed one")
    draft.chmod(0o666)
    write_whole(path, [b"new", memoryview(b" bytes")], durability)
    assert path.read_bytes() == b"new bytes"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [found.name for found in tmp_path.iterdir()] == ["a.bin"]


def test_blocks_are_reserved(tmp_path: Path) -> None:
    """The file is as long as was asked for, zeros behind what was written, and not sparse."""
    path = tmp_path / "a.bin"
    write_whole(path, [b"head"], Durability.SYNCED, reserve_bytes=1 << 16, mode=0o644)
    assert path.read_bytes() == b"head".ljust(1 << 16, b"\0")
    assert path.stat().st_blocks * 512 >= 1 << 16
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize(("durability", "syncs"), [(d, n) for n, d in enumerate(Durability)])
def test_what_is_promised_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability, syncs: int
) -> None:
    """Nothing, the bytes before the rename, or the folder after it as well."""
    path, seen = tmp_path / "a.bin", list[bool]()
    monkeypatch.setattr(os, "fsync", lambda _descriptor: seen.append(path.exists()))
    write_whole(path, [b"new"], durability)
    assert seen == [False, True][:syncs]


def test_a_disk_that_refuses_leaves_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it refuses at the last moment."""

    def refuse(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="full"):
        write_whole(path, [b"new"], Durability.SYNCED)
    assert [(found.name, found.read_bytes()) for found in tmp_path.iterdir()] == [("a.bin", b"old")]
