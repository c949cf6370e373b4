"""The snapshot in the data directory: who may ask, for starts without a database.

    8 bytes    "TRINITYA"
    4 bytes    version, little-endian
    4 bytes    length of the head
    head       JSON: number of keys, plans, blocks, when it was made
    keys       64 bytes each, rows.KEY_DTYPE: of a key only its SHA-256
    32 bytes   SHA-256 of everything before

Rules: only the owner may read it. It is written under another name, synced, then renamed, so that there is always one
whole snapshot; any other file of this name is a SnapshotError and never half believed.
"""

import hashlib
import struct
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from trinity.errors import SnapshotError
from trinity.files import Durability, write_whole
from workers.access.rows import KEY_DTYPE, BlockRow, PlanRow, Rows, key_rows

FILE_NAME = "access.snapshot"
VERSION = 2

_MAGIC = b"TRINITYA"
_FRONT = struct.Struct("<8sII")
_CHECKSUM_BYTES = 32


class Snapshot(NamedTuple):
    """Everything that the access process knew at one time."""

    made_at_us: int
    keys: Rows
    plans: tuple[PlanRow, ...]
    blocks: tuple[BlockRow, ...]


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    made_at_us: int
    keys: int
    plans: tuple[PlanRow, ...]
    blocks: tuple[BlockRow, ...]


def save(path: Path, snapshot: Snapshot) -> None:
    """Replace the file at `path`; OSError when the disk does not take it, and the old file stays."""
    head = msgspec.json.encode(_Head(snapshot.made_at_us, len(snapshot.keys), snapshot.plans, snapshot.blocks))
    parts = (_FRONT.pack(_MAGIC, VERSION, len(head)), head, snapshot.keys.view(np.uint8).data)
    checksum = hashlib.sha256()
    for part in parts:
        checksum.update(part)
    write_whole(path, (*parts, checksum.digest()), Durability.NAMED)


def load(path: Path) -> Snapshot | None:
    """The snapshot at `path`, None when there is none; SnapshotError when it is not whole."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SnapshotError(str(path), str(error.strerror)) from None
    if len(raw) < _FRONT.size + _CHECKSUM_BYTES:
        raise SnapshotError(str(path), f"{len(raw)} bytes are too few")
    magic, version, head_bytes = _FRONT.unpack_from(raw)
    if magic != _MAGIC or version != VERSION:
        raise SnapshotError(str(path), f"it is not of version {VERSION}")
    content, checksum = memoryview(raw)[:-_CHECKSUM_BYTES], raw[-_CHECKSUM_BYTES:]
    if hashlib.sha256(content).digest() != checksum:
        raise SnapshotError(str(path), "its checksum is wrong")
    try:
        head = msgspec.json.decode(content[_FRONT.size : _FRONT.size + head_bytes], type=_Head)
        keys = content[_FRONT.size + head_bytes :]
        if len(keys) != head.keys * KEY_DTYPE.itemsize:
            raise SnapshotError(str(path), f"{len(keys)} bytes are not {head.keys} keys")
    except msgspec.DecodeError as error:
        raise SnapshotError(str(path), str(error)) from None
    return Snapshot(head.made_at_us, key_rows(bytes(keys)), head.plans, head.blocks)
