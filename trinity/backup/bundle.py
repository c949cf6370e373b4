"""What a node holds itself, in one object: rings, spools, identity, snapshots, candles, limits, its configuration.

Consistent with the database by the order of reading, because a record goes ring -> spool -> database:

    1. the rings      what is written and not released; what is released meanwhile is in the spool or further
    2. the spools     a file that is gone meanwhile is in the database
    3. the log        its position afterwards: a database that was restored to it or further has all of the rest

So nothing is missed, and what is there twice is loaded once: the ledger knows the positions that it has. Secrets are
not in it: they are in the environment, and kept by whoever keeps them.
"""

import json
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from trinity.backup.archive import Packed, unpack
from trinity.backup.crypt import ByteSource, opened
from trinity.config import Config
from trinity.errors import RestoreError
from trinity.memory.record_ring import HEADER_WORDS, RELEASED, WORD_BYTES, WRITTEN

# Of the data directory, what is made anew, kept elsewhere, or somebody else's.
_LEFT_OUT = frozenset({
    "database", "logs", "compiled", "backup", "restoring", "restoring.lock", "lock", "recordings", "bench",
    "cluster-files",
})  # fmt: skip
_RING_FOLDERS = ("usage", "deliveries")
CONFIGURATION = "configuration"
_HEADER_BYTES = HEADER_WORDS * WORD_BYTES


def files_of(data_dir: Path, config: Config) -> Iterator[Packed]:
    """What goes into the bundle, in the order in which it must be read."""
    for folder in _RING_FOLDERS:
        for path in sorted((data_dir / folder).glob("ring-*")):
            if path.is_file() and path.suffix != ".unreadable":
                yield Packed(f"{folder}/{path.name}", _ring_bytes(path))
    rings = {f"{folder}/ring-" for folder in _RING_FOLDERS}
    for path in _others(data_dir):
        name = str(path.relative_to(data_dir))
        if not name.startswith(tuple(rings)) or path.suffix == ".unreadable":
            yield Packed(name, path)
    yield Packed(f"{CONFIGURATION}/trinity.toml", configuration_text(config).encode())
    yield Packed(f"{CONFIGURATION}/markets.toml", config.node.markets_file)


def unpack_bundle(name: str, source: ByteSource, identities: Any, folder: Path) -> None:
    """A node's own files into its new data directory; RestoreError when a node has been there."""
    if (folder / "node-uuid").exists():
        raise RestoreError(f"{folder} is a node's: restore into another folder, or move its node-uuid and usage/ away")
    with opened(name, source, identities) as content:
        unpack(name, content, folder, exist_ok=True)


def configuration_text(config: Config) -> str:
    """All settings but the secrets, as a file that a node takes."""
    tree: Mapping[str, Mapping[str, Any]] = msgspec.to_builtins(config, enc_hook=str)
    lines = ["# As it was set when this backup was made; secrets are not in it."]
    for section, fields in tree.items():
        if section != "stores":
            lines += ["", f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in fields.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {_toml(part)}" for name, part in value.items()) + "}"
    return json.dumps(value)


def _others(data_dir: Path) -> Iterator[Path]:
    for top in sorted(data_dir.iterdir()):
        if top.name in _LEFT_OUT or top.name.endswith(".new"):
            continue
        if top.is_file():
            yield top
        for folder, _, names in os.walk(top) if top.is_dir() else ():
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink() and not name.endswith(".new"):
                    yield path


def _ring_bytes(path: Path) -> bytes:
    """A ring as it was when its head was read; empty ones without the old records in them."""
    with path.open("rb", buffering=0) as file:
        content = bytearray(file.read())
        # `written` was read before the records, `released` is read after them: a place that was written over meanwhile
        # was released before.
        file.seek(0)
        head = struct.unpack(f"<{HEADER_WORDS}Q", file.read(_HEADER_BYTES))
    written = struct.unpack_from("<Q", content, WRITTEN * WORD_BYTES)[0]
    released = min(head[RELEASED], written)
    struct.pack_into("<Q", content, RELEASED * WORD_BYTES, released)
    if released == written:
        content[_HEADER_BYTES:] = bytes(len(content) - _HEADER_BYTES)
    return bytes(content)
