"""Exact sums of usage records: by minute, key, asset, protocol and status, with the latency histogram.

Rules: pure numpy, no Python a record; integers only, so sums are exact in any order. `Sums` says which positions of
which rings it stands for, and in which unit it counts: where minutes take too much room, a group is of a whole hour or
day, and stands in its first minute. Its bytes (the spool's .sum files and the reserve) are

    head      HEAD_DTYPE: magic, requests, oldest minute, unit, numbers and sizes, CRC-32 of groups, CRC-32 of the head
              and spans
    spans     SPAN_DTYPE each
    groups    GROUP_DTYPE each, first bytes first, compressed: a group of one record takes some 15 bytes instead of 176,
              which is less than the record itself
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.vocabulary import LATENCY_BOUNDS_NS, LATENCY_BUCKETS

NS_PER_MINUTE = 60 * 1_000_000_000
# The units of the sums that are kept: minutes, hours, days.
UNITS_MINUTES = (1, 60, 24 * 60)
# PostgreSQL's integer and smallint.
KEY_ID_MAX = 2**31 - 1
SMALL_MAX = 2**15 - 1

GROUP_DTYPE = np.dtype(
    [
        ("minute", "<i8"),  # minutes since 1970
        ("asset", "S16"),
        ("key_id", "<u4"),
        ("status", "<u2"),
        ("protocol", "<u2"),
        ("requests", "<i8"),
        ("lookups", "<i8"),
        ("latency_sum_ns", "<i8"),
        ("latency_buckets", "<i8", LATENCY_BUCKETS),
    ]
)
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
_BOUNDS_NS = np.array(LATENCY_BOUNDS_NS, dtype=np.uint32)

Groups = NDArray[np.void]


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


NO_SUMS = Sums((), np.zeros(0, dtype=GROUP_DTYPE))


def sum_records(records: NDArray[np.void]) -> Groups:
    """The groups of some records."""
    return group_records(records)[0]


def group_records(records: NDArray[np.void]) -> tuple[Groups, NDArray[np.int64]]:
    """The groups of some records, and the number of each record's group."""
    if len(records) == 0:
        return NO_SUMS.groups, np.zeros(0, dtype=np.int64)
    minutes = records["time_ns"] // NS_PER_MINUTE
    assets = np.ascontiguousarray(records["asset"])
    # Clipped to what the columns hold before they are grouped, so that no group comes twice.
    keys = np.minimum(records["key_id"], KEY_ID_MAX)
    statuses = np.minimum(records["status"], SMALL_MAX)
    few = keys.astype(np.uint64) << np.uint64(24) | statuses.astype(np.uint64) << np.uint64(8) | records["protocol"]
    number, firsts = number_rows(minutes, few, *_words(assets))
    groups = np.zeros(len(firsts), dtype=GROUP_DTYPE)
    for name, values in (("minute", minutes), ("asset", assets), ("key_id", keys), ("status", statuses)):
        groups[name] = values[firsts]
    groups["protocol"] = records["protocol"][firsts]
    count = len(groups)
    groups["requests"] = np.bincount(number, minlength=count)
    # Doubles are exact to 2**53: 2**20 records of 2**32 ns are 2**52.
    assert len(records) <= 1 << 20
    groups["lookups"] = np.bincount(number, records["assets"], count).astype(np.int64)
    groups["latency_sum_ns"] = np.bincount(number, records["latency_ns"], count).astype(np.int64)
    bucket = np.searchsorted(_BOUNDS_NS, records["latency_ns"])
    in_buckets = np.bincount(number * LATENCY_BUCKETS + bucket, minlength=count * LATENCY_BUCKETS)
    groups["latency_buckets"] = in_buckets.reshape(count, LATENCY_BUCKETS)
    return groups, number


def merge_groups(parts: Sequence[Groups], unit_minutes: int = 1) -> Groups:
    """One group for each key of several; `unit_minutes` 60 or 1440 sums up hours or days (UTC)."""
    every = np.concatenate([*parts, NO_SUMS.groups])
    if len(every) == 0:
        return every
    every["minute"] -= every["minute"] % unit_minutes
    few = every["key_id"].astype(np.uint64) << np.uint64(32)
    few |= every["status"].astype(np.uint64) << np.uint64(16) | every["protocol"]
    number, firsts = number_rows(every["minute"], few, *_words(np.ascontiguousarray(every["asset"])))
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(firsts)))
    merged = every[firsts]
    for name in ("requests", "lookups", "latency_sum_ns", "latency_buckets"):
        merged[name] = np.add.reduceat(every[name][order], starts, axis=0)
    return merged


def merge_sums(first: Sums, second: Sums, unit_minutes: int | None = None) -> Sums:
    """Two sums of adjoining positions as one, in this unit or in the coarser of theirs."""
    unit_minutes = unit_minutes or max(first.unit_minutes, second.unit_minutes)
    spans = {span.ring: span for span in first.spans}
    for span in second.spans:
        before = spans.get(span.ring)
        spans[span.ring] = Span(span.ring, before.first if before else span.first, span.end)
    return Sums(tuple(spans.values()), merge_groups([first.groups, second.groups], unit_minutes), unit_minutes)


def encode_sums(sums: Sums) -> bytes:
    """The bytes of a .sum file."""
    groups, spans = sums.groups, np.array([tuple(span) for span in sums.spans], dtype=SPAN_DTYPE)
    # Bytes of the same place stand together, and most places are zero: the fastest level packs them as well as any.
    planes = np.ascontiguousarray(groups).view(np.uint8).reshape(len(groups), GROUP_DTYPE.itemsize).T
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


def decode_sums(data: bytes) -> Sums | None:
    """What `encode_sums` made, whatever stands behind it; None for anything else."""
    head = read_head(data)
    if head is None:
        return None
    packed = data[head.groups_at : head.groups_at + head.size]
    if len(packed) < head.size or zlib.crc32(packed) != head.crc:
        return None
    planes = np.frombuffer(zlib.decompress(packed, bufsize=head.groups * GROUP_DTYPE.itemsize or 1), dtype=np.uint8)
    groups = np.ascontiguousarray(planes.reshape(GROUP_DTYPE.itemsize, head.groups).T)
    return Sums(head.spans, groups.view(GROUP_DTYPE).reshape(head.groups), head.unit_minutes)


def _words(assets: NDArray[np.bytes_]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Names as two numbers each: those are sorted ten times as fast."""
    words = assets.view(np.uint64).reshape(-1, 2)
    return words[:, 0], words[:, 1]


def number_rows(*columns: NDArray[np.generic]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of each row's group, and the first row of each group; rows are alike in all columns."""
    number = np.zeros(len(columns[0]), dtype=np.int64)
    firsts = np.zeros(1, dtype=np.int64)
    for column in columns:
        if (column == column[0]).all():
            continue  # most batches have one minute, and short names
        _, inverse = np.unique(column, return_inverse=True)
        # Both factors are below the number of rows, some 2**21, so the product cannot overflow.
        _, firsts, number = np.unique(
            number * (int(inverse.max()) + 1) + inverse, return_index=True, return_inverse=True
        )
    return number, firsts
