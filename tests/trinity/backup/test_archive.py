"""trinity/backup/archive.py"""

import io
import tarfile
from pathlib import Path

import pytest

from trinity.backup.archive import Packed, packed, unpack
from trinity.errors import BackupDamagedError


def test_files_go_in_and_come_out_and_what_is_gone_is_left_out(tmp_path: Path) -> None:
    """Bytes as they were given, files as they are when they are read."""
    (tmp_path / "b").write_bytes(b"x" * 3_000_000)
    files = [Packed("a/of bytes", b"1"), Packed("b", tmp_path / "b"), Packed("gone", tmp_path / "gone")]
    with packed(files) as content:
        unpack("it", content, tmp_path / "out")
    found = {
        str(path.relative_to(tmp_path / "out")): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert found == {"a/of bytes": b"1", "b": b"x" * 3_000_000}


def test_what_cannot_be_read_is_raised_to_who_reads(tmp_path: Path) -> None:
    """An archive that broke off is not taken for a whole one."""
    (tmp_path / "folder").mkdir()

    def read_all() -> None:
        with packed([Packed("a", tmp_path / "folder")]) as content:
            content.read()

    with pytest.raises(IsADirectoryError):
        read_all()


def _archive(name: str, kind: bytes = tarfile.REGTYPE, copies: int = 1) -> io.BytesIO:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for _ in range(copies):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    out.seek(0)
    return out


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_archive("../outside"), "leads out"),
        (_archive("/etc/outside"), "leads out"),
        (_archive("link", tarfile.SYMTYPE), "neither file nor folder"),
        (_archive("hard", tarfile.LNKTYPE), "neither file nor folder"),
        (_archive("device", tarfile.CHRTYPE), "neither file nor folder"),
        (_archive("twice", copies=2), "there twice"),
        (io.BytesIO(b"x" * 2000), "no archive"),
    ],
    ids=["up", "absolute", "symlink", "hard link", "device", "twice", "garbage"],
)
def test_an_archive_that_leads_elsewhere_is_damage(tmp_path: Path, content: io.BytesIO, reason: str) -> None:
    """Nothing is made outside of the folder."""
    with pytest.raises(BackupDamagedError, match=reason):
        unpack("it", content, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
