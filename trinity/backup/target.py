"""Where backups are kept: a directory, preferably of another machine's disk, or `s3://bucket/prefix` (s3.py).

    write    an object appears whole, when all of it is on the disk, or not at all
    read     its bytes, as a stream
    stored   what is there, by a prefix of its name
    delete   away with it

Rules: a target bears a mark with its own id, made at the first use of an empty one. Whoever used it before remembers
the id (`recognise`): an unmounted disk, whose empty folder looks like a fresh target, or another bucket is an error,
and not a place to begin anew. Whatever the place itself refuses is a BackupTargetError; what fills an object may raise
what it likes, and the object is not made.
"""

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import msgspec

from trinity.backup.crypt import ByteSink, ByteSource
from trinity.backup.layout import MARK_NAME
from trinity.errors import BackupTargetError, ConfigError
from trinity.files import OWNER_ONLY, sync_folder

_DRAFT = ".draft"
_MARK_BYTES_MAX = 4096

Fill = Callable[[ByteSink], None]


class Stored(NamedTuple):
    """An object that is there."""

    name: str
    bytes: int


class BackupTarget(Protocol):
    """A place of objects."""

    @property
    def shown(self) -> str:
        """What people and logs are told of the place."""

    def write(self, name: str, fill: Fill) -> int:
        """Make an object of what `fill` writes; the bytes it has."""

    def read(self, name: str) -> contextlib.AbstractContextManager[ByteSource]:
        """Its bytes; BackupTargetError also when it is not there."""

    def stored(self, prefix: str) -> Iterator[Stored]:
        """What is there, in no order."""

    def delete(self, name: str) -> None:
        """Away with it; one that is not there is no error."""

    def delete_drafts(self, before: int) -> None:
        """Away with what was begun and not gone on with since a moment."""


def open_target(address: str, endpoint: str = "") -> BackupTarget:
    """The target of a setting; ConfigError when it is none. Nothing is asked yet."""
    if address.startswith("s3://"):
        from trinity.backup.s3 import S3Target

        return S3Target(address, endpoint)
    if "://" in address or not Path(address).is_absolute():
        raise ConfigError(
            "BACKUP_TARGET", f"{address!r} is neither an absolute path of a directory nor s3://bucket/prefix"
        )
    return DirectoryTarget(Path(address))


def write_bytes(target: BackupTarget, name: str, content: bytes) -> int:
    """An object of these bytes."""

    def fill(sink: ByteSink) -> None:
        sink.write(content)

    return target.write(name, fill)


def read_bytes(target: BackupTarget, name: str, most: int) -> bytes:
    """A short object; BackupTargetError for a longer one."""
    with target.read(name) as source:
        content = bytearray()
        while len(content) <= most and (chunk := source.read(most + 1 - len(content))):
            content += chunk
    if len(content) > most:
        raise BackupTargetError(target.shown, f"{name} is longer than {most} bytes")
    return bytes(content)


def recognise(target: BackupTarget, remembered: str | None) -> str:
    """The target's id; an empty target that nobody remembers gets one. BackupTargetError: it is another one."""
    marks = [stored for stored in target.stored(MARK_NAME) if stored.name == MARK_NAME]
    if marks:
        found = _id_of(target)
        if remembered not in (None, found):
            reason = (
                "it is another one than before: mount or name that one, or remove backup/state.json to begin anew here"
            )
            raise BackupTargetError(target.shown, reason)
        return found
    if remembered is not None:
        reason = "the backups are not there (is its disk mounted?); remove backup/state.json to begin anew here"
        raise BackupTargetError(target.shown, reason)
    if next(iter(target.stored("")), None) is not None:
        raise BackupTargetError(target.shown, f"it has other things in it and no {MARK_NAME}: name an empty place")
    made = str(uuid.uuid4())
    write_bytes(target, MARK_NAME, msgspec.json.encode({"format": 1, "id": made}))
    return made


def _id_of(target: BackupTarget) -> str:
    try:
        mark: dict[str, Any] = msgspec.json.decode(read_bytes(target, MARK_NAME, _MARK_BYTES_MAX), type=dict[str, Any])
        if mark.get("format") != 1:
            raise BackupTargetError(target.shown, f"{MARK_NAME} is of another version: {mark.get('format')!r}")
        return str(uuid.UUID(mark.get("id")))
    except (msgspec.MsgspecError, ValueError, TypeError, AttributeError):
        raise BackupTargetError(target.shown, f"{MARK_NAME} is damaged") from None


class DirectoryTarget:
    """A folder; an object is a file in it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.shown = str(folder)

    def write(self, name: str, fill: Fill) -> int:
        path = self._folder / name
        draft = path.with_name(f"{path.name}.{os.getpid()}{_DRAFT}")
        try:
            self._make_folder(path.parent)
            with self._refusals(), open(draft, "wb", opener=_private) as file:
                fill(_Refusing(file, self))
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            with self._refusals():
                draft.rename(path)
                sync_folder(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        return size

    @contextlib.contextmanager
    def read(self, name: str) -> Iterator[ByteSource]:
        with self._refusals():
            file = (self._folder / name).open("rb")
        with file:
            yield _Refusing(file, self)

    def stored(self, prefix: str) -> Iterator[Stored]:
        """Walks the folder that the prefix names, or the whole."""
        start = self._folder / prefix if prefix.endswith("/") else self._folder / os.path.dirname(prefix)
        with self._refusals():
            if not self._folder.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            found = [
                Stored(str(path.relative_to(self._folder)), path.stat().st_size)
                for folder, _, files in os.walk(start)
                for path in (Path(folder, file) for file in files if not file.endswith(_DRAFT))
            ]
        return (stored for stored in found if stored.name.startswith(prefix))

    def delete(self, name: str) -> None:
        path = self._folder / name
        with self._refusals(), contextlib.suppress(FileNotFoundError):
            path.unlink()
            for folder in path.parents:
                if folder == self._folder or next(folder.iterdir(), None) is not None:
                    return
                folder.rmdir()

    def delete_drafts(self, before: int) -> None:
        """What killed writers left: drafts that nobody has written to since `before`, in seconds since 1970."""
        with self._refusals():
            for draft in self._folder.rglob(f"*{_DRAFT}"):
                with contextlib.suppress(FileNotFoundError):
                    if draft.stat().st_mtime < before:
                        draft.unlink()

    def _make_folder(self, folder: Path) -> None:
        """Of an object, not of the target: one that is not mounted is not made anew."""
        with self._refusals():
            if not self._folder.is_dir():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.refused(error) from None

    def refused(self, error: OSError) -> BackupTargetError:
        advice = {errno.ENOENT: ": is its disk mounted? Trinity does not make the folder", errno.ENOSPC: ": make room"}
        return BackupTargetError(self.shown, f"{error.strerror or error}{advice.get(error.errno or 0, '')}")


class _Refusing:
    """A file whose errors are the target's."""

    def __init__(self, file: BinaryIO, target: DirectoryTarget) -> None:
        self._file, self._target = file, target

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            raise self._target.refused(error) from None

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as error:
            raise self._target.refused(error) from None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, OWNER_ONLY)
