"""A base backup: pg_basebackup's archive goes sealed into the target, with no file between; its description last.

Rules: full, or incremental on the newest base of this node's own, whose manifest must still be here (`manifests`), for
the target's own copy cannot be opened without an identity. The log is not a part of it: it is received all the time
(wal.py). A base whose archive broke off, or whose manifest is not whole, gets no description and is removed.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pyrage
from psycopg.conninfo import conninfo_to_dict

from trinity.backup.catalog import Base
from trinity.backup.crypt import ByteSink, seal
from trinity.backup.layout import BaseKind, base_label, base_place
from trinity.backup.manifest import NAME as MANIFEST
from trinity.backup.manifest import read_manifest
from trinity.backup.target import BackupTarget, write_bytes
from trinity.backup.tools import Tool, server_arguments
from trinity.errors import BackupTargetError, BackupToolError
from trinity.files import Durability, write_whole
from trinity.store.connect import AnyConnection

_BLOCK = 512
# A manifest takes some 200 bytes a file; 100,000 files are far beyond what partitions of three years make.
_MANIFEST_BYTES_MAX = 64 * 1024**2
FIRST_INCREMENTAL_VERSION = 170_000


class ServerFacts(NamedTuple):
    """Of the server that is backed up."""

    system: str
    version: int
    timeline: int
    segment_bytes: int
    summarizes: bool  # incremental backups are possible
    may_replicate: bool  # our role may receive the log
    database: int  # its number; a server may have several that are backed up


def read_facts(connection: AnyConnection) -> ServerFacts:
    """Ask the server; psycopg's errors."""
    row = connection.execute(
        "SELECT (SELECT system_identifier::text FROM pg_control_system()), current_setting('server_version_num')::int,"
        " ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int,"
        " (SELECT bytes_per_wal_segment FROM pg_control_init()),"
        " coalesce(current_setting('summarize_wal', true), 'off') = 'on',"
        " (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user),"
        " (SELECT oid::bigint FROM pg_database WHERE datname = current_database())"
    ).fetchone()
    assert row is not None, "a row of values"
    return ServerFacts(*row)


class Origin(NamedTuple):
    """Where a base comes from."""

    url: str
    embedded: bool
    scratch: Path  # a folder of our own: manifests, what programs said
    recipients: Sequence[pyrage.x25519.Recipient]


def take_base(
    origin: Origin,
    target: BackupTarget,
    connection: AnyConnection,
    facts: ServerFacts,
    moment: int,
    parent: Base | None,
) -> Base:
    """Take one now, incremental on `parent` if one is given; BackupToolError, BackupTargetError, psycopg's errors."""
    kind: BaseKind = "full" if parent is None else "incremental"
    label = base_label(moment, kind)
    place = base_place(facts.system, label)
    server, secrets = server_arguments(origin.url, "base backup")
    arguments = [
        "--pgdata=-", "--format=tar", "--wal-method=none", "--checkpoint=fast", "--manifest-checksums=SHA256",
        f"--label={label}", "--no-estimate-size", *server,
    ]  # fmt: skip
    if parent is not None:
        arguments.append(f"--incremental={manifest_path(origin.scratch, parent.label)}")
    tool = Tool("pg_basebackup", arguments, secrets, origin.scratch / "pg_basebackup.log")
    watched = _Watched(tool)
    try:
        stored = target.write(f"{place}/data.age", lambda sink: _fill(f"{place}/data.age", watched, sink, origin))
        manifest = read_manifest(label, watched.manifest)
        database = conninfo_to_dict(origin.url)
        role = connection.execute("SELECT ceil(extract(epoch FROM clock_timestamp()))::bigint, current_user").fetchone()
        assert role is not None, "a row of values"
        base = Base(
            label=label,
            system=manifest.system,
            kind=kind,
            parent=parent.label if parent else None,
            timeline=manifest.timeline,
            start_lsn=manifest.start_lsn,
            end_lsn=manifest.end_lsn,
            ended_at=role[0],
            server_version=facts.version,
            segment_bytes=facts.segment_bytes,
            data_bytes=watched.bytes,
            stored_bytes=stored,
            embedded=origin.embedded,
            database=str(database.get("dbname")),
            role=role[1],
        )
        _keep_manifest(origin.scratch, label, watched.manifest)
        write_bytes(target, f"{place}/base.json", msgspec.json.encode(base))
    except BaseException:
        tool.stop()
        with contextlib.suppress(BackupTargetError):
            target.delete(f"{place}/data.age")
        raise
    return base


def manifest_path(scratch: Path, label: str) -> Path:
    return scratch / "manifests" / f"{label}.{MANIFEST}"


def has_manifest(scratch: Path, base: Base) -> bool:
    """Whether another base can build on this one here."""
    return manifest_path(scratch, base.label).is_file()


def forget_manifests(scratch: Path, kept: Sequence[Base]) -> None:
    """Of bases that are gone."""
    names = {manifest_path(scratch, base.label).name for base in kept}
    folder = scratch / "manifests"
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.name not in names:
            path.unlink(missing_ok=True)


def _fill(name: str, watched: "_Watched", sink: ByteSink, origin: Origin) -> None:
    seal(name, watched, sink, origin.recipients)


def _keep_manifest(scratch: Path, label: str, text: bytes) -> None:
    path = manifest_path(scratch, label)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_whole(path, [text], Durability.SYNCED)


class _Watched:
    """The archive on its way: its size, and the manifest, which is its last file; its end is good or raises."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self._head = bytearray()
        self._left = 0  # of the present file, with what fills its last block
        self._content = 0  # of it, that is content of a manifest
        self._manifest = bytearray()
        self.bytes = 0

    @property
    def manifest(self) -> bytes:
        return bytes(self._manifest)

    def read(self, size: int) -> bytes:
        chunk = self._tool.output.read(size)
        self.bytes += len(chunk)
        self._look(memoryview(chunk))
        if not chunk:
            self._tool.finish()
        return chunk

    def _look(self, chunk: memoryview) -> None:
        while chunk:
            if self._left:
                part = chunk[: self._left]
                self._manifest += part[: self._content]
                self._content -= min(self._content, len(part))
                self._left -= len(part)
            else:
                part = chunk[: _BLOCK - len(self._head)]
                self._head += part
                if len(self._head) == _BLOCK:
                    self._begin(bytes(self._head))
                    self._head.clear()
            chunk = chunk[len(part) :]

    def _begin(self, head: bytes) -> None:
        name, field = head[:100].rstrip(b"\0").decode(errors="replace"), head[124:136]
        if not name:
            return  # the empty blocks at the end
        size = int.from_bytes(field[1:], "big") if field[0] & 0x80 else int(field.rstrip(b"\0 ") or b"0", 8)
        self._left = -(-size // _BLOCK) * _BLOCK
        if name == MANIFEST:
            if size > _MANIFEST_BYTES_MAX:
                raise BackupToolError("pg_basebackup", f"a manifest of {size} bytes")
            self._content = size
