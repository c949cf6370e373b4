"""trinity/backup/manifest.py"""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from trinity.backup.manifest import check_files, read_manifest
from trinity.errors import BackupDamagedError

FILES = {"PG_VERSION": b"18\n", "base/1/2": b"x" * 8192, "pg_wal/of the log": b"", "postgresql.auto.conf": b"# a"}


def _text(**changed: Any) -> bytes:
    """As PostgreSQL writes it: the sum of all before it stands in its last line."""
    files = [
        {"Path": name, "Size": len(content), "Checksum-Algorithm": "SHA256",
         "Checksum": hashlib.sha256(content).hexdigest(), "Last-Modified": "2026-01-01 00:00:00 GMT"}
        for name, content in FILES.items()
    ]  # fmt: skip
    ranges = [{"Timeline": 1, "Start-LSN": "0/2000028", "End-LSN": "0/2000120"}]
    document = {"PostgreSQL-Backup-Manifest-Version": 2, "System-Identifier": 7, "Files": files, "WAL-Ranges": ranges}
    body = json.dumps(document | changed)[:-1].encode() + b",\n"
    return body + f'"Manifest-Checksum": "{hashlib.sha256(body).hexdigest()}"}}\n'.encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A backup that is as its manifest says."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_a_folder_as_its_manifest_says_is_good(folder: Path) -> None:
    """The log, and what an operator sets by ALTER SYSTEM, may differ."""
    manifest = read_manifest("it", _text())
    assert (manifest.system, manifest.timeline, manifest.start_lsn, manifest.end_lsn) == ("7", 1, 0x2000028, 0x2000120)
    (folder / "pg_wal" / "another").touch()
    (folder / "postgresql.auto.conf").write_text("other")
    assert check_files("it", manifest, folder) == sum(map(len, FILES.values()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / "PG_VERSION").unlink(), "is missing"),
        (lambda folder: (folder / "base/1/3").touch(), "does not belong"),
        (lambda folder: (folder / "base/1/2").write_bytes(b"x" * 8191), "another size"),
        (lambda folder: (folder / "base/1/2").write_bytes(b"x" * 8191 + b"y"), "other bytes"),
    ],
)
def test_a_file_too_few_too_many_or_changed_is_named(folder: Path, change: Any, reason: str) -> None:
    """Each, by its name."""
    change(folder)
    with pytest.raises(BackupDamagedError, match=reason):
        check_files("it", read_manifest("it", _text()), folder)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"{}", _text()[:-40], _text().replace(b"8192", b"8193"), _text(**{"WAL-Ranges": []}),
        _text(**{"PostgreSQL-Backup-Manifest-Version": 1}), _text(Files=[{"Path": "a", "Size": 1}]), b"\xff" + _text(),
    ],
)  # fmt: skip
def test_a_manifest_that_is_not_whole_is_refused(text: bytes) -> None:
    """By its own sum, and by what it must have."""
    with pytest.raises(BackupDamagedError, match="backup_manifest"):
        read_manifest("it", text)
