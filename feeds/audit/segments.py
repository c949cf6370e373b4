"""Segments of a recording: files of compressed, checksummed chunks; written, bounded, found and read again.

    <data_dir>/recording/<stream>-<wall_ns of its start>.seg

    chunk   magic "TRC1"; CRC-32 of what follows; bytes, 1 if it begins with a checkpoint, monotonic ns and wall clock
            ns of its writing; zlib of MessagePack of a list of entries

Rules: every chunk can be read alone; one life of a process never goes on in another's segment. A torn last chunk is
cut by the reader; damage before the end is a RecordingError. All segments of all streams together stay below the
bound: whoever begins a segment drops the oldest ones first, but never a stream's newest. What the disk refuses raises
OSError, and the recorder above decides.
"""

import os
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from feeds.audit.entries import DECODER, ENCODER, VERSION, Checkpoint, Entry, Header
from trinity.errors import TrinityError

FOLDER = "recording"
_SUFFIX = ".seg"
_NAME = re.compile(rf"(?P<stream>[a-z]+)-(?P<start>\d{{1,20}}){re.escape(_SUFFIX)}")
_MAGIC = b"TRC1"
_MARK = struct.Struct("<4sI")
_HEAD = struct.Struct("<IIqq")
_HEADS_BYTES = _MARK.size + _HEAD.size
# Level 1 takes 10 ns a byte and leaves a fifth of JSON; level 6 takes four times as long for a tenth less.
_LEVEL = 1
# A recording is bounded by whole segments: 1/64 of the bound each, and 8 streams may hold one that is not yet full.
SEGMENTS = 64
STREAMS_MAX = 8
# A chunk holds half a second; more than this is damage, not data.
_CHUNK_BYTES_MAX = 1 << 28


class RecordingError(TrinityError):
    """A segment cannot be read any further, and not because its writer died."""

    def __init__(self, segment: str, position: int, reason: str) -> None:
        super().__init__(segment, position, reason)
        self.segment = segment
        self.position = position
        self.reason = reason

    def __str__(self) -> str:
        return f"recording {self.segment}: {self.reason} at byte {self.position}: remove the file to replay the others"


class SegmentInfo(NamedTuple):
    """A segment by its name; `start_ns` is wall clock."""

    path: Path
    stream: str
    start_ns: int
    size: int


class Chunk(NamedTuple):
    """Where a chunk is, with its head, and what the head says."""

    position: int
    size: int
    has_checkpoint: bool
    at_ns: int
    wall_ns: int


class SegmentWriter:
    """One open segment; `size` is what was written so far."""

    def __init__(self, folder: Path, header: Header, bytes_max: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        make_room(folder, bytes_max)
        self.path = folder / f"{header.stream}-{header.wall_ns}{_SUFFIX}"
        self.size = 0
        self._file: BinaryIO = self.path.open("xb", buffering=0)
        self.write([header], header.at_ns, header.wall_ns)

    def write(self, entries: Sequence[Entry], at_ns: int, wall_ns: int) -> None:
        """Append one chunk."""
        payload = zlib.compress(ENCODER.encode(entries), _LEVEL)
        body = _HEAD.pack(len(payload), isinstance(entries[0], Checkpoint), at_ns, wall_ns) + payload
        chunk = _MARK.pack(_MAGIC, zlib.crc32(body)) + body
        if self._file.write(chunk) != len(chunk):
            raise OSError(f"{self.path}: the disk took less than a chunk")
        self.size += len(chunk)

    def close(self) -> None:
        self._file.close()


def segment_bytes(bytes_max: int) -> int:
    """When a segment is full."""
    return bytes_max // SEGMENTS


def list_segments(folder: Path) -> list[SegmentInfo]:
    """All segments, the oldest first; other files are not ours."""
    found = []
    for path in folder.glob(f"*{_SUFFIX}"):
        name = _NAME.fullmatch(path.name)
        if name is None:
            continue
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue  # dropped just now
        found.append(SegmentInfo(path, name["stream"], int(name["start"]), size))
    return sorted(found, key=lambda info: (info.start_ns, info.stream))


def make_room(folder: Path, bytes_max: int) -> list[SegmentInfo]:
    """Drop the oldest segments until every stream may fill one more; returns what was dropped."""
    segments = list_segments(folder)
    newest = {info.stream: info.path for info in segments}
    total = sum(info.size for info in segments)
    dropped = []
    for info in segments:
        if total + STREAMS_MAX * segment_bytes(bytes_max) <= bytes_max:
            break
        if info.path == newest[info.stream]:
            continue
        info.path.unlink(missing_ok=True)
        total -= info.size
        dropped.append(info)
    return dropped


def read_chunks(path: Path) -> Iterator[Chunk]:
    """Heads of the whole chunks in order; a torn end is left out."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while size - position >= _HEADS_BYTES:
            file.seek(position)
            magic, _ = _MARK.unpack(file.read(_MARK.size))
            length, has_checkpoint, at_ns, wall_ns = _HEAD.unpack(file.read(_HEAD.size))
            if magic != _MAGIC or length > _CHUNK_BYTES_MAX:
                raise RecordingError(path.name, position, "no chunk begins")
            end = position + _HEADS_BYTES + length
            if end > size:
                return
            yield Chunk(position, end - position, bool(has_checkpoint), at_ns, wall_ns)
            position = end


def read_chunk(path: Path, chunk: Chunk) -> list[Entry]:
    """The entries of one chunk; RecordingError when its bytes are not what was written."""
    with path.open("rb") as file:
        file.seek(chunk.position)
        _, crc = _MARK.unpack(file.read(_MARK.size))
        body = file.read(chunk.size - _MARK.size)
    if zlib.crc32(body) != crc:
        raise RecordingError(path.name, chunk.position, "the checksum is wrong")
    try:
        return DECODER.decode(zlib.decompress(body[_HEAD.size :]))
    except (zlib.error, msgspec.DecodeError) as error:
        raise RecordingError(path.name, chunk.position, str(error)) from None


def read_segment(path: Path) -> Iterator[tuple[Chunk, list[Entry]]]:
    """Every chunk with its entries; a torn last chunk is cut, damage before it is a RecordingError."""
    chunks = list(read_chunks(path))
    size = path.stat().st_size
    for chunk in chunks:
        try:
            entries = read_chunk(path, chunk)
        except RecordingError:
            if chunk.position + chunk.size == size:
                return  # the last one: its writer's machine died
            raise
        yield chunk, entries


def header_of(path: Path) -> Header | None:
    """The header of a segment, None when not even that was written; RecordingError for another version."""
    chunk = next(read_chunks(path), None)
    if chunk is None:
        return None
    try:
        entries = read_chunk(path, chunk)
    except RecordingError:
        if chunk.size == path.stat().st_size:
            return None  # its writer's machine died
        raise
    header = entries[0] if entries else None
    if not isinstance(header, Header) or header.version != VERSION:
        raise RecordingError(path.name, chunk.position, f"it has no header of version {VERSION}")
    return header
