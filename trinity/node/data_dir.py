"""The node's data directory: who works in it, the node's identity, and the rings of records.

    lock           locked (flock) by the node that runs here, a second one is refused; the supervisor's number
    version.json   who worked in it last: its version and the migrations that it knew; an older version is refused
    node-uuid      made at the first start: what the database knows the node by, whatever its name
    usage/ring-<n> the ring of writer n, workers first; ring-<n>.<second>.unreadable: what stood there and was none
    deliveries/    the same of the pusher's deliveries; only where there is a pusher, or was one

Rules: claimed before anything else is made, because rings and spool have one writer each. The lock belongs to the open
file, which the children inherit: it is free again when the last process of the node has ended.
"""

import contextlib
import fcntl
import logging
import os
import re
import select
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from trinity.errors import ConfigError, DataDirTakenError, LayoutError
from trinity.files import Durability, write_whole
from trinity.memory.record_ring import RecordRing
from trinity.node.asking import LOCK

# Of all files in the directory together; one more when an older version would misread one of them.
DATA_LAYOUT = 2
# After a SIGKILL of the whole node its last process may take some 100 ms to be gone.
_CLAIM_TRIES = 20
_CLAIM_WAIT_SECONDS = 0.1

Ring = TypeVar("Ring", bound=RecordRing)

_RING_NAME = re.compile(r"ring-(\d{1,3})")


@contextlib.contextmanager
def claim_data_dir(data_dir: Path) -> Iterator[None]:
    """Hold the directory's lock; raises DataDirTakenError, or ConfigError when it cannot be written."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        fd = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError("TRINITY_DATA_DIR", f"{data_dir}: {error.strerror}") from None
    try:
        _lock(fd, data_dir)
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


class VersionStamp(msgspec.Struct, frozen=True):
    """Who worked in the directory last; fields that a later version adds are passed over."""

    version: str
    layout: int
    migrations: tuple[str, ...]


def check_stamp(data_dir: Path, version: str, migrations: Sequence[str]) -> None:
    """Refuse a directory that a newer version has worked in, else say that this one does now. Under the lock.

    What a newer version wrote, an older one would take for damage and set aside: its usage records would be lost. A
    directory without a stamp is of the time before there were any.
    """
    path, own = data_dir / "version.json", VersionStamp(version, DATA_LAYOUT, tuple(migrations))
    try:
        found = msgspec.json.decode(path.read_bytes(), type=VersionStamp)
    except FileNotFoundError:
        found = None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError("TRINITY_DATA_DIR", f"{path} is unreadable: {error}; restore it from a backup") from None
    if found is not None:
        later = sorted(set(found.migrations) - set(migrations))
        if found.layout > DATA_LAYOUT or later:
            reason = (
                f"{data_dir} was last used by version {found.version}, which is newer than this one ({version}): its "
                "files and its database would be misread. Install that version or a newer one; to go back to this one, "
                "restore a backup of before the upgrade into another directory"
            )
            raise ConfigError("TRINITY_DATA_DIR", reason)
    if found != own:
        write_whole(path, [msgspec.json.encode(own)], Durability.SYNCED, mode=0o644)


def is_claimed(data_dir: Path) -> bool:
    """Whether a node works in this directory now."""
    try:
        with (data_dir / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def node_uuid(data_dir: Path) -> uuid.UUID:
    """The node's identity; made when it is not there. Only under the directory's lock."""
    path = data_dir / "node-uuid"
    try:
        return uuid.UUID(path.read_text().strip())
    except FileNotFoundError:
        made = uuid.uuid4()
        write_whole(path, [f"{made}\n".encode()], Durability.SYNCED, mode=0o644)
        return made
    except (ValueError, UnicodeDecodeError):
        reason = f"{path} holds no UUID: restore it from a backup, or remove it to start as a new node"
        raise ConfigError("TRINITY_DATA_DIR", reason) from None


def open_rings(
    kind: type[Ring], data_dir: Path, writers: int, capacity: int, wall_seconds: int, log: logging.Logger
) -> tuple[Ring, ...]:
    """A kind's rings of all writers in the order of their numbers, then those of former ones, which may hold records.

    A file that is no ring is set aside loudly, and a new ring made. Raises ConfigError when there is no room for them.
    """
    folder = data_dir / kind.folder
    if not writers and not folder.exists():
        return ()
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # addresses and keys' numbers are nobody else's business
        found = (_RING_NAME.fullmatch(path.name) for path in folder.iterdir())
        former = sorted(number for match in found if match and (number := int(match[1])) >= writers)
        return tuple(
            _open_ring(kind, folder / f"ring-{number}", number, capacity, wall_seconds, log)
            for number in (*range(writers), *former)
        )
    except OSError as error:
        needed = writers * capacity * kind.record_dtype.itemsize // 2**20
        reason = f"{folder}: {error.strerror}: the {kind.folder} rings need {needed} MB (LEDGER_RING_RECORDS)"
        raise ConfigError("TRINITY_DATA_DIR", reason) from None


def _open_ring(
    kind: type[Ring], path: Path, number: int, capacity: int, wall_seconds: int, log: logging.Logger
) -> Ring:
    try:
        ring = kind.open(path, number, capacity, wall_seconds)
    except LayoutError as error:
        aside = path.with_name(f"{path.name}.{wall_seconds}.unreadable")
        path.rename(aside)
        found = {"file": str(aside), "what": error.what, "expected": error.expected, "found": error.found}
        log.critical("a ring of records is unreadable and was set aside: they are lost", extra={"fields": found})
        ring = kind.open(path, number, capacity, wall_seconds)
    if ring.capacity != capacity:
        kept = {"ring": str(path), "records": ring.capacity, "LEDGER_RING_RECORDS": capacity}
        log.warning("a ring of records keeps its size: stop the node and remove the file", extra={"fields": kept})
    return ring


def _lock(fd: int, data_dir: Path) -> None:
    for _ in range(_CLAIM_TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        select.select([], [], [], _CLAIM_WAIT_SECONDS)
    raise DataDirTakenError(str(data_dir))
