"""The spool: a folder of segments on disk, between the rings and the database.

One file (unit.py) is one transaction of the loader, whole or not at all: that makes "is it loaded already?" a
comparison of one position. So the boundaries of a file that a loader may have had in its hand, in this life or the one
before, never change. The loader takes the oldest file and asks for the open one to be closed when there is no other.

The folder has a bound: the setting's, or what the disk has to spare beside a reserve for the database, which may share
it. Beyond the bound detail is given up step by step, the oldest first, and never the sums:

    segments          -> sums by the minute, joined with those before them
    sums by the minute -> by the hour, when no segment is left
    sums by the hour   -> by the day: as many groups as keys, assets, protocols and statuses were met in one day

Rules: appended by the drain, taken and removed by the loader's thread, under one lock. What was written outlives the
death of every process at once, because the kernel has it; a segment that stays longer than a second is also synced to
the disk (`sync`), so that a failing machine costs what the loader had not committed of the last second. Most segments
are loaded and removed before that, and a sync for them would only keep the database's own waiting.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trinity.files import Durability, write_whole
from trinity.limits import DISK_RESERVE_BYTES_MIN, DISK_RESERVE_SHARE, SEGMENT_BYTES_MAX
from trinity.memory.record_ring import JUMP_MIN, RecordRing
from workers.ledger.disk.block import HEADER_BYTES, header_of, read_blocks, records_in_place, seal_of
from workers.ledger.disk.unit import Unit, read_segment, recover, set_aside, sums_unit
from workers.ledger.kind import RecordKind
from workers.ledger.sums import (
    UNITS_MINUTES,
    Span,
    Sums,
    decode_sums,
    encode_sums,
    merge_sums,
)

# A segment is at most this part of the bound, so that giving up one is a small loss.
_SEGMENTS_MIN = 8
# What the spool may have on a disk that is full of other things: below this no outage, however short, is bridged.
_BOUND_MIN = 4 * SEGMENT_BYTES_MAX
# Two files of sums become one up to here: merging takes a second then, and one transaction takes the result.
_GROUPS_MAX = 1 << 19


def _silent() -> None:
    """Nobody waits for a sign of life."""


class Spool:
    """The folder, its files in order, and the one that is written."""

    def __init__(self, kind: RecordKind, folder: Path, bytes_max: int, beat: Callable[[], None] = _silent) -> None:
        """Takes over what is there and finishes what a predecessor began; `damaged` was set aside. Raises OSError.

        `beat` is called within whatever takes long.
        """
        self.kind = kind
        self._folder = folder
        self._bytes_max = bytes_max
        self._segment_bytes_max = min(SEGMENT_BYTES_MAX, bytes_max // _SEGMENTS_MIN)
        self._beat = beat
        self._lock = threading.Lock()
        self._open_fd: int | None = None
        self.is_writable = True  # the drain says so; else only what is loaded makes room
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._units, self.damaged, self._next_sequence = recover(kind, folder, beat)

    @property
    def bytes(self) -> int:
        return sum(unit.bytes for unit in list(self._units))

    @property
    def records(self) -> int:
        return sum(unit.records for unit in list(self._units))

    @property
    def bound(self) -> int:
        """Bytes that it may have now."""
        disk = os.statvfs(self._folder)
        reserve = max(DISK_RESERVE_BYTES_MIN, int(disk.f_blocks * disk.f_frsize * DISK_RESERVE_SHARE))
        to_spare = self.bytes + disk.f_bavail * disk.f_frsize - reserve
        return min(self._bytes_max, max(to_spare, _BOUND_MIN))

    @property
    def share(self) -> float:
        return self.bytes / self.bound

    @property
    def oldest_ns(self) -> int | None:
        """Wall clock time of the oldest record."""
        units = list(self._units)
        return units[0].oldest_ns if units else None

    def ends(self) -> Mapping[int, int]:
        """The position behind the newest record of each ring that was ever spooled and is still here."""
        return {span.ring: span.end for unit in self._units for span in unit.spans.values()}

    def append(self, ring: RecordRing, records: NDArray[np.void]) -> None:
        """Write the ring's oldest records as one block and release them; after an OSError nothing has happened.

        Both under the lock: a segment that the loader can take has nothing that is still in a ring.
        """
        first, size = ring.released, HEADER_BYTES + records.nbytes
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
            write_whole(path, [encode_sums(sums)], Durability.SYNCED)
            self._units.append(sums_unit(path))
            self._next_sequence += 1
            on_written()

    def take(self) -> Unit | None:
        """The oldest unit, for the loader; the open segment is closed when there is no other."""
        with self._lock:
            if not self._units:
                return None
            if len(self._units) == 1:
                self._close()
            self._units[0].in_hand = self._units[0].keeps_bounds = True
            return self._units[0]

    def close(self) -> None:
        """Nothing will be appended any more."""
        with self._lock:
            self._close()

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

    def set_aside(self, unit: Unit) -> Path:
        """Nobody can load it; where it lies now."""
        with self._lock:
            self._units.remove(unit)
            return set_aside(unit.path)

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
        """One step while the spool is over its bound; returns how many records have their sums alone from now on.

        Raises OSError.
        """
        with self._lock:
            if self.bytes <= self.bound:
                return 0
            closed = self._units[:-1] if self._open_fd is not None else self._units
            finer = ((unit, coarser) for coarser in UNITS_MINUTES for unit in closed if unit.unit_minutes < coarser)
            unit, coarser = next(((unit, coarser) for unit, coarser in finer if not unit.in_hand), (None, 0))
            if unit is None:
                return 0
            records = 0 if unit.is_sum else unit.records
            self._coarsen(unit, coarser)
            return records

    def _coarsen(self, unit: Unit, unit_minutes: int) -> None:
        """Put sums in the place of a file; where the file before it counts in the same way, they join it."""
        sums = _sums_of(self.kind, unit)
        if sums is None:
            unit.unit_minutes = unit_minutes  # damaged: whoever loads it says so
            return
        self._beat()
        sums = sums._replace(groups=self.kind.merge_groups([sums.groups], unit_minutes), unit_minutes=unit_minutes)
        before = self._to_join(unit, sums)
        self._beat()
        if before is not None:
            joined, into = merge_sums(self.kind, before, sums), self._units[self._units.index(unit) - 1]
            self._replace(into, joined)
            self._forget(unit)
        else:
            self._replace(unit, sums)
        self._beat()

    def _to_join(self, unit: Unit, sums: Sums) -> Sums | None:
        """The sums of the file before, when the two may become one."""
        number = self._units.index(unit)
        before = self._units[number - 1] if number else unit
        if number == 0 or before.keeps_bounds or unit.keeps_bounds or before.unit_minutes != sums.unit_minutes:
            return None
        gaps = [span.first - before.spans[span.ring].end for span in sums.spans if span.ring in before.spans]
        if before.groups + len(sums.groups) > _GROUPS_MAX or max(gaps, default=0) >= JUMP_MIN:
            return None
        return decode_sums(self.kind, before.path.read_bytes())

    def _replace(self, unit: Unit, sums: Sums) -> None:
        old, path = unit.path, unit.path.with_suffix(".sum")
        write_whole(path, [encode_sums(sums)], Durability.SYNCED)
        new = sums_unit(path)
        unit.path, unit.bytes, unit.spans, unit.oldest_ns = path, new.bytes, new.spans, new.oldest_ns
        unit.requests, unit.groups, unit.unit_minutes = new.requests, new.groups, new.unit_minutes
        if old != path:
            old.unlink()

    def _open(self, oldest_ns: int) -> None:
        path = self._folder / f"{self._next_sequence:012}.seg"
        self._open_fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._units.append(Unit(self._next_sequence, path, oldest_ns=oldest_ns))
        self._next_sequence += 1

    def _close(self) -> None:
        if self._open_fd is None:
            return
        unit, fd = self._units[-1], self._open_fd
        self._open_fd = None
        seal = seal_of(unit.spans.values(), unit.oldest_ns)
        try:
            written = os.write(fd, seal)
            if written == len(seal):
                unit.bytes += written
            else:
                os.ftruncate(fd, unit.bytes)
        except OSError:
            os.ftruncate(fd, unit.bytes)  # without a seal the next start reads it whole
        finally:
            os.close(fd)

    def _take_back(self, unit: Unit, fd: int) -> None:
        """Cut off what was written of a block that is not whole."""
        os.ftruncate(fd, unit.bytes)
        os.lseek(fd, unit.bytes, os.SEEK_SET)
        if unit.bytes == 0:
            os.close(fd)
            self._open_fd = None
            self._forget(unit)

    def _forget(self, unit: Unit) -> None:
        unit.path.unlink(missing_ok=True)
        self._units.remove(unit)


def _sums_of(kind: RecordKind, unit: Unit) -> Sums | None:
    if unit.is_sum:
        return decode_sums(kind, unit.path.read_bytes())
    blocks = read_blocks(kind, read_segment(unit.path))
    parts = [kind.sum_records(records_in_place(kind, block.ring, block.first, block.records)) for block in blocks]
    return Sums(tuple(unit.spans.values()), kind.merge_groups(list(parts), 1))
