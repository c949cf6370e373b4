"""The files of the spool's folder: what one is, how it is written whole, and what a start finds.

    <sequence>.seg   blocks of records (block.py), ended by a seal once it is closed
    <sequence>.sum   the exact sums (sums.py) of segments whose detail was given up
    <name>.bad       a file that nobody can load: kept for whoever wants to look, counted nowhere
    <name>.new       a draft

Rules: a start reads the seal or the head of each file, and the one segment whole that the predecessor did not close:
10 GB are 640 files. The others' records are checked when they are loaded. What sums stand for is in no other file: a
predecessor that was killed between writing the sums and removing what they replace left both, and the sums count.
"""

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.ledger.disk.block import HEADER_BYTES, SEAL_BYTES_MAX, header_of, read_blocks, read_seal, seal_of
from workers.ledger.kind import RecordKind
from workers.ledger.sums import HEAD_DTYPE, NS_PER_MINUTE, SPAN_DTYPE, Span, read_head

_NAME = re.compile(r"(\d{12})\.(seg|sum)(\.bad)?")
# The head of sums over 1,000 rings, which is more than a node has.
_HEAD_BYTES_MAX = HEAD_DTYPE.itemsize + 1000 * SPAN_DTYPE.itemsize


@dataclass
class Unit:
    """A file of the spool. `spans` are its rings' positions, `oldest_ns` the time of its first record."""

    sequence: int
    path: Path
    bytes: int = 0
    spans: dict[int, Span] = field(default_factory=dict)
    oldest_ns: int = 0
    requests: int = 0  # of sums
    groups: int = 0
    unit_minutes: int = 0  # of sums: what they count by
    in_hand: bool = False  # the loader works on it
    keeps_bounds: bool = False  # the database may have it already, whole: it must not become a part of another file
    synced_bytes: int = 0
    unsynced: bool = False  # it was not synced when `sync` last looked

    @property
    def is_sum(self) -> bool:
        return self.path.suffix == ".sum"

    @property
    def records(self) -> int:
        return self.requests if self.is_sum else sum(span.end - span.first for span in self.spans.values())

    def add(self, span: Span) -> None:
        before = self.spans.get(span.ring, span)
        self.spans[span.ring] = Span(span.ring, before.first, span.end)


def read_segment(path: Path) -> NDArray[np.uint8]:
    """All bytes of a file of the spool."""
    return np.fromfile(path, dtype=np.uint8)


def private(path: str, flags: int) -> int:
    """An opener: files of the ledger are their owner's alone."""
    return os.open(path, flags, 0o600)


def set_aside(path: Path) -> Path:
    """Out of the loader's way; its new name."""
    return path.rename(path.with_name(f"{path.name}.bad"))


def sums_unit(path: Path) -> Unit:
    """What the head of a file of sums says; without spans when it is none."""
    unit = Unit(int(path.stem), path, path.stat().st_size)
    with path.open("rb") as file:
        head = read_head(file.read(_HEAD_BYTES_MAX))
    if head is not None:
        unit.spans = {span.ring: span for span in head.spans}
        unit.oldest_ns = head.oldest_minute * NS_PER_MINUTE
        unit.requests, unit.groups, unit.unit_minutes = head.requests, head.groups, head.unit_minutes
    return unit


def recover(kind: RecordKind, folder: Path, beat: Callable[[], None]) -> tuple[list[Unit], list[Path], int]:
    """The files that count, in order; those that were set aside; the next free sequence. `beat` after each file."""
    for draft in folder.glob("*.new"):
        draft.unlink()
    names = {path: match for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))}
    # Sums before the segment of the same number, whose place they take.
    paths = [path for path, match in names.items() if not match[3]]
    paths.sort(key=lambda path: (path.stem, path.suffix == ".seg"))
    units: list[Unit] = []
    damaged: list[Path] = []
    summed: dict[int, int] = {}  # the position behind the newest sum of each ring
    for path in paths:
        unit = sums_unit(path) if path.suffix == ".sum" else _segment_unit(kind, path)
        if unit.spans and all(span.end <= summed.get(span.ring, 0) for span in unit.spans.values()):
            path.unlink()
        elif unit.spans:
            unit.keeps_bounds = True
            units.append(unit)
            if unit.is_sum:
                summed.update({span.ring: span.end for span in unit.spans.values()})
        elif unit.bytes:
            damaged.append(set_aside(path))
        else:
            path.unlink()
        beat()
    return units, damaged, max((int(match[1]) for match in names.values()), default=0) + 1


def _segment_unit(kind: RecordKind, path: Path) -> Unit:
    """What a segment's seal says; one without is read, cut behind its last whole record, and sealed."""
    unit = Unit(int(path.stem), path, path.stat().st_size)
    with path.open("rb") as file:
        file.seek(max(0, unit.bytes - SEAL_BYTES_MAX))
        sealed = read_seal(file.read())
    if sealed is not None:
        unit.spans, unit.oldest_ns = {span.ring: span for span in sealed[0]}, sealed[1]
    else:
        _close(kind, unit)
    return unit


def _close(kind: RecordKind, unit: Unit) -> None:
    """What a predecessor did not come to: only the last block can be torn.

    Where the disk refuses the cut or the seal, the file stays as it is: whoever reads it finds the same blocks.
    """
    block = None
    for block in read_blocks(kind, read_segment(unit.path)):
        if not unit.spans and len(block.records):
            unit.oldest_ns = int(block.records["time_ns"][0])
        if len(block.records):
            unit.add(Span(block.ring, block.first, block.end))
    if block is None:
        return
    end = block.offset + (HEADER_BYTES + block.records.nbytes if len(block.records) else 0)
    with contextlib.suppress(OSError), unit.path.open("r+b", buffering=0) as file:
        if len(block.records) and not block.whole:
            os.pwrite(file.fileno(), header_of(block.ring, block.first, block.records), block.offset)
        os.ftruncate(file.fileno(), end)
        unit.bytes = end
        if unit.spans:
            unit.bytes += os.pwrite(file.fileno(), seal_of(unit.spans.values(), unit.oldest_ns), end)
