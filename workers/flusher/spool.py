"""The spool: a folder of segments on disk, between the rings and the database.

    <sequence>.seg   blocks of records (block.py); the newest one is still being written
    <sequence>.sum   the exact sums (sums.py) of a segment whose detail was given up

One file is one transaction of the loader, whole or not at all, so its boundaries never change once it is closed: that
makes "is it loaded already?" a comparison of one position. The loader takes the oldest file and asks for the open one
to be closed when there is no other.

Rules: appended by the drain, taken and removed by the loader's thread, under one lock. What was written outlives the
death of every process at once, because the kernel has it; a segment that stays longer than a second is also synced to
the disk (`sync`), so that a failing machine costs what the loader had not committed of the last second. Most segments
are loaded and removed before that, and a sync for them would only keep the database's own waiting.
"""

import contextlib
import errno
import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trinity.limits import SEGMENT_BYTES_MAX
from trinity.memory.usage_ring import UsageRing
from workers.flusher.block import HEADER_BYTES, RECORD_BYTES, header_of, read_blocks, read_header
from workers.flusher.sums import NS_PER_MINUTE, Span, Sums, decode_sums, encode_sums, merge_groups, sum_records

_NAME = re.compile(r"(\d{12})\.(seg|sum)")
# A segment is at most this part of the bound, so that giving up one is a small loss.
_SEGMENTS_MIN = 8
_TIME_BYTES = 8  # a record begins with its time


@dataclass
class Unit:
    """A file of the spool. `spans` are its rings' positions, `oldest_ns` the time of its first record."""

    sequence: int
    path: Path
    bytes: int = 0
    spans: dict[int, Span] = field(default_factory=dict)
    oldest_ns: int = 0
    in_hand: bool = False  # the loader works on it
    synced_bytes: int = 0
    unsynced: bool = False  # it was not synced when `sync` last looked

    @property
    def is_sum(self) -> bool:
        return self.path.suffix == ".sum"

    @property
    def records(self) -> int:
        return sum(span.end - span.first for span in self.spans.values())

    def add(self, span: Span) -> None:
        before = self.spans.get(span.ring, span)
        self.spans[span.ring] = Span(span.ring, before.first, span.end)


class Spool:
    """The folder, its files in order, and the one that is written."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        """Takes over what is there: cuts a torn tail, finishes what a predecessor began; raises OSError."""
        self._folder = folder
        self._bytes_max = bytes_max
        self._segment_bytes_max = min(SEGMENT_BYTES_MAX, bytes_max // _SEGMENTS_MIN)
        self._lock = threading.Lock()
        self._open_fd: int | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._units = _recover(folder)
        self._next_sequence = self._units[-1].sequence + 1 if self._units else 1

    @property
    def bytes(self) -> int:
        return sum(unit.bytes for unit in list(self._units))

    @property
    def records(self) -> int:
        return sum(unit.records for unit in list(self._units))

    @property
    def share(self) -> float:
        return self.bytes / self._bytes_max

    @property
    def oldest_ns(self) -> int | None:
        """Wall clock time of the oldest record."""
        units = list(self._units)
        return units[0].oldest_ns if units else None

    def ends(self) -> Mapping[int, int]:
        """The position behind the newest record of each ring that was ever spooled and is still here."""
        return {span.ring: span.end for unit in self._units for span in unit.spans.values()}

    def append(self, ring: UsageRing, records: NDArray[np.void]) -> None:
        """Write the ring's oldest records as one block and release them; after an OSError nothing has happened.

        Both under the lock: a segment that the loader can take has nothing that is still in a ring.
        """
        first, size = ring.released, HEADER_BYTES + len(records) * RECORD_BYTES
        with self._lock:
            if self._open_fd is not None and self._units[-1].bytes + size > self._segment_bytes_max:
                self._close()
            if self._open_fd is None:
                self._open(int(records["time_ns"][0]))
            unit, fd = self._units[-1], self._open_fd
            assert fd is not None
            try:
                written = os.writev(fd, [header_of(ring.number, first, records), records.view(np.uint8).data])
                if written != size:
                    raise OSError(errno.ENOSPC, "the disk took a part of the block")
            except OSError:
                self._take_back(unit, fd)
                raise
            unit.bytes += size
            unit.add(Span(ring.number, first, first + len(records)))
            ring.release(first + len(records))

    def append_sums(self, sums: Sums, on_written: Callable[[], None]) -> None:
        """Write sums as a file of their own, behind all that is there; raises OSError."""
        with self._lock:
            self._close()
            path = self._folder / f"{self._next_sequence:012}.sum"
            _write_whole(path, encode_sums(sums))
            self._units.append(_unit_of(path))
            self._next_sequence += 1
            on_written()

    def take(self) -> Unit | None:
        """The oldest unit, for the loader; the open segment is closed when there is no other."""
        with self._lock:
            if not self._units:
                return None
            if len(self._units) == 1:
                self._close()
            self._units[0].in_hand = True
            return self._units[0]

    def has_closed(self) -> bool:
        """Whether there is more than the segment that is still being written."""
        return len(self._units) > (self._open_fd is not None)

    def put_back(self, unit: Unit) -> None:
        """The loader could not load it now."""
        with self._lock:
            unit.in_hand = False

    def remove(self, unit: Unit) -> None:
        """It is loaded."""
        with self._lock:
            self._forget(unit)

    def sync(self) -> None:
        """Bring to the disk what was here at the call before and still is; raises OSError."""
        with self._lock:
            late = [unit for unit in self._units if unit.unsynced and not unit.is_sum and not unit.in_hand]
            for unit in self._units:
                unit.unsynced = unit.unsynced or unit.synced_bytes < unit.bytes
        for unit in late:
            with contextlib.suppress(FileNotFoundError):  # loaded meanwhile
                size, fd = unit.bytes, os.open(unit.path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    os.fdatasync(fd)
                finally:
                    os.close(fd)
                unit.synced_bytes, unit.unsynced = size, unit.bytes > size

    def give_up_detail(self) -> int:
        """While the spool is over its bound: replace the oldest segment by its sums; returns the records' number.

        0 when the bound is kept, or nothing is left to give up. Raises OSError.
        """
        with self._lock:
            if self.bytes <= self._bytes_max:
                return 0
            closed = self._units[:-1] if self._open_fd is not None else self._units
            unit = next((unit for unit in closed if not unit.is_sum and not unit.in_hand), None)
            if unit is None:
                return 0
            records = unit.records
            data = encode_sums(Sums(tuple(unit.spans.values()), _sum_file(unit.path)))
            segment = unit.path
            _write_whole(segment.with_suffix(".sum"), data)
            unit.path, unit.bytes = segment.with_suffix(".sum"), len(data)
            segment.unlink()
            return records

    def _open(self, oldest_ns: int) -> None:
        path = self._folder / f"{self._next_sequence:012}.seg"
        self._open_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._units.append(Unit(self._next_sequence, path, oldest_ns=oldest_ns))
        self._next_sequence += 1

    def _close(self) -> None:
        if self._open_fd is not None:
            os.close(self._open_fd)
            self._open_fd = None

    def _take_back(self, unit: Unit, fd: int) -> None:
        """Cut off what was written of a block that is not whole."""
        os.ftruncate(fd, unit.bytes)
        os.lseek(fd, unit.bytes, os.SEEK_SET)
        if unit.bytes == 0:
            self._close()
            self._forget(unit)

    def _forget(self, unit: Unit) -> None:
        unit.path.unlink(missing_ok=True)
        self._units.remove(unit)


def read_segment(path: Path) -> NDArray[np.uint8]:
    """All bytes of a file of the spool."""
    return np.fromfile(path, dtype=np.uint8)


def _sum_file(path: Path) -> NDArray[np.void]:
    return merge_groups([sum_records(block.records) for block in read_blocks(read_segment(path))])


def _recover(folder: Path) -> list[Unit]:
    for draft in folder.glob("*.new"):
        draft.unlink()
    found = {path for path in folder.iterdir() if _NAME.fullmatch(path.name)}
    for path in sorted(found):
        # Sums are renamed into place before their segment is removed.
        if path.suffix == ".seg" and path.with_suffix(".sum") in found:
            path.unlink()
            found.remove(path)
    newest = max((path for path in found if path.suffix == ".seg"), default=None)
    if newest is not None:
        _cut_torn_tail(newest)
    units = [_unit_of(path) for path in sorted(found)]
    for unit in units:
        if not unit.spans:
            unit.path.unlink()
    return [unit for unit in units if unit.spans]


def _cut_torn_tail(path: Path) -> None:
    """Leave the blocks and records that are whole. A closed segment was written whole, only the last can be torn."""
    data = read_segment(path)
    size = 0
    with path.open("r+b") as file:
        for block in read_blocks(data):
            size = block.offset + HEADER_BYTES + len(block.records) * RECORD_BYTES
            if not block.whole:
                os.pwrite(file.fileno(), header_of(block.ring, block.first, block.records), block.offset)
                size = size if len(block.records) else block.offset
                break
        file.truncate(size)


def _unit_of(path: Path) -> Unit:
    """What a file's headers say; the records are checked when they are loaded."""
    unit = Unit(int(path.stem), path, path.stat().st_size)
    if unit.is_sum:
        sums = decode_sums(path.read_bytes())
        if sums is not None:
            unit.spans = {span.ring: span for span in sums.spans}
            unit.oldest_ns = _oldest_ns(sums)
        return unit
    at = 0
    with path.open("rb") as file:
        while (found := read_header(file.read(HEADER_BYTES))) is not None:
            ring, first, count = found
            if at == 0:
                unit.oldest_ns = int.from_bytes(file.read(_TIME_BYTES), "little", signed=True)
            at += HEADER_BYTES + count * RECORD_BYTES
            unit.add(Span(ring, first, first + count))
            file.seek(at)
    return unit


def _oldest_ns(sums: Sums) -> int:
    return int(sums.groups["minute"].min()) * NS_PER_MINUTE if len(sums.groups) else 0


def _write_whole(path: Path, data: bytes) -> None:
    """Under another name first, synced, so that a half-written file is never found."""
    draft = path.with_suffix(".new")
    try:
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
