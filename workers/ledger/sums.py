"""Exact sums of the records of a kind, for the positions that they stand for, and their bytes.

Rules: pure numpy, no Python a record; integers only, so sums are exact in any order. `Sums` says which positions of
which rings it stands for, and in which unit it counts: where minutes take too much room, a group is of a whole hour or
day, and stands in its first minute. Its bytes (the spool's .sum files and the reserve) are

    head      HEAD_DTYPE: magic, requests, oldest minute, unit, numbers and sizes, CRC-32 of groups, CRC-32 of the head
              and spans
    spans     SPAN_DTYPE each
    groups    the kind's group_dtype each, first bytes first, compressed: a group of one record takes some 15 bytes
              instead of 176, which is less than the record itself
"""

import zlib
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workers.ledger.kind import Groups, RecordKind

NS_PER_MINUTE = 60 * 1_000_000_000
# The units of the sums that are kept: minutes, hours, days.
UNITS_MINUTES = (1, 60, 24 * 60)
SPAN_DTYPE = np.dtype([("ring", "<i8"), ("first", "<i8"), ("end", "<i8")])
HEAD_DTYPE = np.dtype(
    [
        ("magic", "<u8"),
        ("requests", "<u8"),
        ("oldest_minute", "<i8"),
        ("groups", "<u8"),
        ("size", "<u8"),  # bytes of the groups, compressed
        ("unit_minutes", "<u4"),
        ("spans", "<u4"),
        ("groups_crc", "<u4"),
        ("head_crc", "<u4"),
    ]
)
_MAGIC = int.from_bytes(b"TRINITYT", "little")
_CRC_BYTES = 4
# More is written only by somebody else: 2**20 groups are 176 MB.
_GROUPS_MAX = 1 << 21
# Up to here a table of all numbers is quicker than sorting those that are there: 8 MB.
_TABLE_MAX = 1 << 20


class Span(NamedTuple):
    """Positions of one ring, `end` not included."""

    ring: int
    first: int
    end: int


class Sums(NamedTuple):
    """Groups and the positions that they stand for."""

    spans: tuple[Span, ...]
    groups: Groups
    unit_minutes: int = 1

    @property
    def requests(self) -> int:
        return int(self.groups["requests"].sum())


class Head(NamedTuple):
    """What the first bytes of some sums say of the rest."""

    spans: tuple[Span, ...]
    requests: int
    oldest_minute: int
    unit_minutes: int
    groups: int
    groups_at: int
    size: int
    crc: int


def no_sums(kind: RecordKind) -> Sums:
    """Of no records at all."""
    return Sums((), np.zeros(0, dtype=kind.group_dtype))


def merge_sums(kind: RecordKind, first: Sums, second: Sums, unit_minutes: int | None = None) -> Sums:
    """Two sums of adjoining positions as one, in this unit or in the coarser of theirs."""
    unit_minutes = unit_minutes or max(first.unit_minutes, second.unit_minutes)
    spans = {span.ring: span for span in first.spans}
    for span in second.spans:
        before = spans.get(span.ring)
        spans[span.ring] = Span(span.ring, before.first if before else span.first, span.end)
    return Sums(tuple(spans.values()), kind.merge_groups([first.groups, second.groups], unit_minutes), unit_minutes)


def encode_sums(sums: Sums) -> bytes:
    """The bytes of a .sum file."""
    groups, spans = sums.groups, np.array([tuple(span) for span in sums.spans], dtype=SPAN_DTYPE)
    # Bytes of the same place stand together, and most places are zero: the fastest level packs them as well as any.
    planes = np.ascontiguousarray(groups).view(np.uint8).reshape(len(groups), groups.dtype.itemsize).T
    packed = zlib.compress(np.ascontiguousarray(planes).data, 1)
    head = np.zeros(1, dtype=HEAD_DTYPE)
    head["magic"], head["requests"], head["unit_minutes"] = _MAGIC, sums.requests, sums.unit_minutes
    head["oldest_minute"] = groups["minute"].min() if len(groups) else 0
    head["groups"], head["spans"], head["size"] = len(groups), len(spans), len(packed)
    head["groups_crc"] = zlib.crc32(packed)
    head["head_crc"] = zlib.crc32(spans.tobytes(), zlib.crc32(head.tobytes()[:-_CRC_BYTES]))
    return b"".join((head.tobytes(), spans.tobytes(), packed))


def read_head(data: bytes) -> Head | None:
    """What `encode_sums` put first; None where no sums stand."""
    if len(data) < HEAD_DTYPE.itemsize:
        return None
    head = np.frombuffer(data, dtype=HEAD_DTYPE, count=1)[0]
    groups_at = HEAD_DTYPE.itemsize + int(head["spans"]) * SPAN_DTYPE.itemsize
    if head["magic"] != _MAGIC or len(data) < groups_at or head["groups"] > _GROUPS_MAX:
        return None
    spans = data[HEAD_DTYPE.itemsize : groups_at]
    if head["head_crc"] != zlib.crc32(spans, zlib.crc32(data[: HEAD_DTYPE.itemsize - _CRC_BYTES])):
        return None
    return Head(
        spans=tuple(Span(*span) for span in np.frombuffer(spans, dtype=SPAN_DTYPE).tolist()),
        requests=int(head["requests"]),
        oldest_minute=int(head["oldest_minute"]),
        unit_minutes=int(head["unit_minutes"]),
        groups=int(head["groups"]),
        groups_at=groups_at,
        size=int(head["size"]),
        crc=int(head["groups_crc"]),
    )


def decode_sums(kind: RecordKind, data: bytes) -> Sums | None:
    """What `encode_sums` made, whatever stands behind it; None for anything else."""
    head = read_head(data)
    if head is None:
        return None
    packed = data[head.groups_at : head.groups_at + head.size]
    if len(packed) < head.size or zlib.crc32(packed) != head.crc:
        return None
    group_bytes = kind.group_dtype.itemsize
    planes = np.frombuffer(zlib.decompress(packed, bufsize=head.groups * group_bytes or 1), dtype=np.uint8)
    groups = np.ascontiguousarray(planes.reshape(group_bytes, head.groups).T)
    return Sums(head.spans, groups.view(kind.group_dtype).reshape(head.groups), head.unit_minutes)


def number_rows(*columns: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of each row's group, and the first row of each group; rows are alike in all columns.

    Numbers are in the order of the columns' values. Those are sorted without their places and found again, which takes
    a fifth of the time: there are few different ones among many rows.
    """
    rows = len(columns[0])
    number, groups = np.zeros(rows, dtype=np.int64), 1
    for column in columns:
        # Times and places change a few times in a batch: what is the same as the row before is looked at once.
        starts = np.flatnonzero(np.concatenate([[True], column[1:] != column[:-1]]))
        changing = column[starts]
        values = np.unique(changing)
        if len(values) == 1:
            continue  # most batches have one minute, and short names
        found = np.searchsorted(values, changing)
        if len(starts) < rows:
            found = np.repeat(found, np.diff(starts, append=rows))
        # Both factors are below the number of rows, some 2**21, so the product cannot overflow.
        number, groups = _renumber(number * len(values) + found, groups * len(values))
    firsts = np.empty(groups, dtype=np.int64)
    firsts[number[::-1]] = np.arange(rows - 1, -1, -1)  # the last one that is written stays
    return number, firsts


def _renumber(numbers: NDArray[np.int64], bound: int) -> tuple[NDArray[np.int64], int]:
    """Numbers below a bound without gaps, in the same order, and how many there are."""
    if bound > _TABLE_MAX:
        found = np.unique(numbers)
        return np.searchsorted(found, numbers), len(found)
    is_there = np.zeros(bound, dtype=np.int64)
    is_there[numbers] = 1
    new = np.cumsum(is_there)
    return new[numbers] - 1, int(new[-1])
