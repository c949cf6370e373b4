"""Archives (tar) as streams: made of files that may change or go meanwhile, and unpacked below one folder alone.

Rules: a file has the size that it had when it was opened; one that is gone is left out. Only files and folders are
packed and unpacked; a name that leads elsewhere, a link or a device is damage.
"""

import contextlib
import io
import os
import shutil
import tarfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple

from trinity.errors import BackupDamagedError

_CHUNK = 1024 * 1024


class Packed(NamedTuple):
    """A file of an archive: where its bytes are, or they themselves."""

    name: str
    content: Path | bytes


@contextlib.contextmanager
def packed(files: Iterable[Packed]) -> Iterator[BinaryIO]:
    """An archive of these to read from; `files` is gone through as it is read, on a thread of its own."""
    ends = os.pipe()
    packing = _Packer(files, ends[1])
    thread = threading.Thread(target=packing.run, name="pack", daemon=True)
    with os.fdopen(ends[0], "rb", _CHUNK) as content:
        thread.start()
        yield content
    thread.join()
    if packing.failure is not None:
        raise packing.failure


def unpack(what: str, content: IO[bytes], place: Path, *, exist_ok: bool = False) -> None:
    """All of an archive below `place` and nowhere else; BackupDamagedError."""
    place.mkdir(mode=0o700, exist_ok=exist_ok)
    try:
        with tarfile.open(fileobj=content, mode="r|", bufsize=_CHUNK) as archive:
            for member in archive:
                path = place / member.name
                if ".." in path.parts or not path.is_relative_to(place):
                    raise BackupDamagedError(what, f"{member.name!r} leads out of it")
                if member.isdir():
                    path.mkdir(mode=0o700, parents=True, exist_ok=True)
                    continue
                if not member.isreg():
                    reason = f"{member.name} is neither file nor folder: databases with tablespaces are not backed up"
                    raise BackupDamagedError(what, reason)
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                source = archive.extractfile(member)
                assert source is not None, "a regular file has bytes"
                with path.open("xb") as file:
                    shutil.copyfileobj(source, file, _CHUNK)
                path.chmod(member.mode & 0o700 | 0o600)
    except tarfile.TarError as error:
        raise BackupDamagedError(what, f"it is no archive: {error}") from None
    except FileExistsError as error:
        raise BackupDamagedError(what, f"{error.filename} is there twice") from None


class _Packer:
    """The thread's side."""

    def __init__(self, files: Iterable[Packed], descriptor: int) -> None:
        self._files, self._descriptor = files, descriptor
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with (
                os.fdopen(self._descriptor, "wb", _CHUNK) as out,
                tarfile.open(fileobj=out, mode="w|", bufsize=_CHUNK) as archive,
            ):
                for name, content in self._files:
                    _add(archive, name, content)
        except Exception as error:  # noqa: BLE001 - the border of the thread: the reader raises it
            self.failure = error


def _add(archive: tarfile.TarFile, name: str, content: Path | bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o600
    if isinstance(content, bytes):
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
        return
    with contextlib.suppress(FileNotFoundError), content.open("rb") as file:
        entry.size = os.fstat(file.fileno()).st_size
        archive.addfile(entry, _Whole(file, entry.size))


class _Whole(io.RawIOBase):
    """Exactly as many bytes as were promised: zeros for those that were cut off meanwhile."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._file, self._left = file, size

    def read(self, size: int = -1) -> bytes:
        size = self._left if size < 0 else min(size, self._left)
        self._left -= size
        return self._file.read(size).ljust(size, b"\0")
