"""A file is written whole or not at all: under another name first, then renamed into its place.

    Durability.RENAMED   outlives the death of every process
    Durability.SYNCED    its bytes are on the disk before it has its name: a failing machine leaves the old file or it
    Durability.NAMED     its name is on the disk as well: who returns from here may rely on the new file

Rules: one draft a file, `<name>.new` beside it: who writes the same file takes turns, and a draft that a killed one
left is written over. After an OSError the old file stands and the draft is gone. Files are
their owner's alone. Must not know what it writes.
"""

import contextlib
import enum
import os
from collections.abc import Iterable
from pathlib import Path

OWNER_ONLY = 0o600


class Durability(enum.Enum):
    """What the new file outlives."""

    RENAMED = enum.auto()
    SYNCED = enum.auto()
    NAMED = enum.auto()


def write_whole(
    path: Path,
    parts: Iterable[bytes | memoryview],
    durability: Durability,
    *,
    reserve_bytes: int = 0,
    mode: int = OWNER_ONLY,
) -> None:
    """Put a file of these parts at `path`; with `reserve_bytes` its blocks are reserved up to there. Raises OSError."""
    draft = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # also when the draft was left by somebody else
            for part in parts:
                file.write(part)
            file.flush()
            if reserve_bytes:
                os.posix_fallocate(descriptor, 0, reserve_bytes)
            if durability is not Durability.RENAMED:
                os.fsync(descriptor)
        draft.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    if durability is Durability.NAMED:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk; raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
