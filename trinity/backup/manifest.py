"""PostgreSQL's own list of what is in a base backup (`backup_manifest`), and whether a folder holds exactly that.

Rules: the list bears its own sum, and each file's size and SHA-256; both are checked, with what is missing and what is
too many. A file of the list is believed when its bytes were read from the disk that it will be started from. What a
server may change before its first start, and the log, are no part of it (pg_verifybackup(1) leaves the same out).
"""

import hashlib
import os
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from trinity.backup.layout import parse_lsn
from trinity.errors import BackupDamagedError

NAME = "backup_manifest"
_SUM_LINE = b'"Manifest-Checksum"'
_IGNORED = (NAME, "postgresql.auto.conf", "standby.signal", "recovery.signal")
_IGNORED_FOLDERS = ("pg_wal/",)


class _File(msgspec.Struct, rename="pascal"):
    size: int
    path: str | None = None
    encoded_path: str | None = msgspec.field(default=None, name="Encoded-Path")
    checksum: str | None = None
    algorithm: str | None = msgspec.field(default=None, name="Checksum-Algorithm")

    @property
    def name(self) -> str:
        if self.path is not None:
            return self.path
        return os.fsdecode(bytes.fromhex(self.encoded_path or ""))


class _Range(msgspec.Struct):
    timeline: int = msgspec.field(name="Timeline")
    start: str = msgspec.field(name="Start-LSN")
    end: str = msgspec.field(name="End-LSN")


class _Document(msgspec.Struct):
    version: Annotated[int, msgspec.Meta(ge=2, le=2)] = msgspec.field(name="PostgreSQL-Backup-Manifest-Version")
    system: int = msgspec.field(name="System-Identifier")
    files: list[_File] = msgspec.field(name="Files")
    ranges: list[_Range] = msgspec.field(name="WAL-Ranges")


class Manifest(NamedTuple):
    """What a base backup is made of, and the log that it needs at least."""

    system: str
    files: dict[str, tuple[int, str]]  # size and SHA-256
    timeline: int
    start_lsn: int
    end_lsn: int


def read_manifest(what: str, text: bytes) -> Manifest:
    """Decode one that is whole by its own sum; BackupDamagedError says `what` is not."""
    body, found, _ = text.rpartition(_SUM_LINE)
    try:
        if not found:
            raise ValueError("it has no end")
        sum_of = msgspec.json.decode(b"{" + text[len(body) :])["Manifest-Checksum"]
        if hashlib.sha256(body).hexdigest() != sum_of:
            raise ValueError("its own sum is another")
        document = msgspec.json.decode(text, type=_Document)
        if not document.ranges or any(file.algorithm != "SHA256" for file in document.files):
            raise ValueError("it has no SHA-256 of its files, or no range of the log")
        files = {file.name: (file.size, file.checksum or "") for file in document.files}
        newest = document.ranges[-1]
        lsns = parse_lsn(document.ranges[-1].start), parse_lsn(newest.end)
    except (ValueError, KeyError, TypeError) as error:
        raise BackupDamagedError(what, f"{NAME}: {error}") from None
    return Manifest(str(document.system), files, newest.timeline, *lsns)


def check_files(what: str, manifest: Manifest, folder: Path) -> int:
    """All files of `folder` are those of the list, byte for byte; how many bytes they have. BackupDamagedError."""
    found = {
        str(path.relative_to(folder)): path
        for place, _, names in os.walk(folder)
        for path in (Path(place, name) for name in names)
    }
    expected = manifest.files
    extra = [name for name in found if name not in expected and not _is_ignored(name)]
    missing = [name for name in expected if name not in found and not _is_ignored(name)]
    for reason, names in (("is missing", missing), ("does not belong to it", extra)):
        if names:
            raise BackupDamagedError(what, f"{sorted(names)[0]} {reason} ({len(names)} such files)")
    for name, (size, sum_of) in expected.items():
        if _is_ignored(name):
            continue
        path = found[name]
        if path.is_symlink() or path.stat().st_size != size:
            raise BackupDamagedError(what, f"{name} has another size than its manifest says")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != sum_of:
                raise BackupDamagedError(what, f"{name} has other bytes than its manifest says")
    return sum(size for size, _ in expected.values())


def _is_ignored(name: str) -> bool:
    return name in _IGNORED or name.startswith(_IGNORED_FOLDERS)
