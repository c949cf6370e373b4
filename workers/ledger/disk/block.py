"""A segment's bytes: blocks of records, each of one ring, as they stood there; at a closed one's end its seal.

    header    HEADER_DTYPE, 32 bytes: magic, first position, ring, count, CRC-32 of the records, CRC-32 of the header
    records   count times the kind's bytes
    ...
    spans     SPAN_DTYPE each: which positions of which rings the blocks hold
    seal      _SEAL_DTYPE, 32 bytes: magic, time of the oldest record, number of spans, CRC-32 of spans and seal

Rules: pure: bytes in, blocks out. A block whose records do not match their checksum (a torn tail, a bad disk) is kept
up to the last record that carries the request id of its place; behind a header that is none, nothing is believed. The
seal only saves a start the reading of some 10,000 headers: the blocks say the same.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.memory.record_ring import POSITION_BITS
from workers.ledger.kind import RecordKind
from workers.ledger.sums import SPAN_DTYPE, Span

HEADER_DTYPE = np.dtype(
    [
        ("magic", "<u8"),
        ("first", "<u8"),
        ("ring", "<u4"),
        ("count", "<u4"),
        ("records_crc", "<u4"),
        ("header_crc", "<u4"),
    ]
)
HEADER_BYTES = HEADER_DTYPE.itemsize
_MAGIC = int.from_bytes(b"TRINITYB", "little")
_SEAL_DTYPE = np.dtype([("magic", "<u8"), ("oldest_ns", "<i8"), ("reserved", "<u8"), ("spans", "<u4"), ("crc", "<u4")])
_SEAL_MAGIC = int.from_bytes(b"TRINITYE", "little")
# The seal of 1,000 rings, which is more than a node has.
SEAL_BYTES_MAX = _SEAL_DTYPE.itemsize + 1000 * SPAN_DTYPE.itemsize
_CRC_BYTES = 4


class RecordBlock(NamedTuple):
    """Records at the positions from `first` on; `offset` is its header's place, `whole`: nothing is missing."""

    ring: int
    first: int
    records: NDArray[np.void]
    offset: int
    whole: bool

    @property
    def end(self) -> int:
        return self.first + len(self.records)


def header_of(ring: int, first: int, records: NDArray[np.void]) -> bytes:
    """The header that goes before `records`."""
    header = np.zeros(1, dtype=HEADER_DTYPE)
    header[0] = _MAGIC, first, ring, len(records), zlib.crc32(records.view(np.uint8).data), 0
    header["header_crc"] = zlib.crc32(header.tobytes()[:-_CRC_BYTES])
    return header.tobytes()


def read_header(data: bytes) -> tuple[int, int, int] | None:
    """Ring, first position and count; None where no header stands."""
    if len(data) < HEADER_BYTES:
        return None
    header = np.frombuffer(data, dtype=HEADER_DTYPE, count=1)[0]
    if header["magic"] != _MAGIC or header["header_crc"] != zlib.crc32(data[: HEADER_BYTES - _CRC_BYTES]):
        return None
    return int(header["ring"]), int(header["first"]), int(header["count"])


def read_blocks(kind: RecordKind, data: NDArray[np.uint8]) -> Iterator[RecordBlock]:
    """All blocks of a segment's bytes, up to the first that is not whole, or that is followed by no header."""
    at, record_bytes = 0, kind.record_dtype.itemsize
    while (found := read_header(data[at : at + HEADER_BYTES].tobytes())) is not None:
        ring, first, count = found
        header = data[at : at + HEADER_BYTES].view(HEADER_DTYPE)[0]
        body = data[at + HEADER_BYTES : at + HEADER_BYTES + count * record_bytes]
        whole = len(body) == count * record_bytes and zlib.crc32(body.data) == header["records_crc"]
        records = body[: len(body) // record_bytes * record_bytes].view(kind.record_dtype)
        if not whole:
            records = records[: good_records(kind, ring, first, records)]
        yield RecordBlock(ring, first, records, at, whole)
        at += HEADER_BYTES + count * record_bytes


def good_records(kind: RecordKind, ring: int, first: int, records: NDArray[np.void]) -> int:
    """How many records, from the first on, carry the request id of their place."""
    wrong = np.flatnonzero(~_are_in_place(kind, ring, first, records))
    return int(wrong[0]) if len(wrong) else len(records)


def records_in_place(kind: RecordKind, ring: int, first: int, records: NDArray[np.void]) -> NDArray[np.void]:
    """Without those that carry another request id than that of their place.

    Only a machine that failed leaves such: a ring's pages reach the disk in any order.
    """
    in_place = _are_in_place(kind, ring, first, records)
    return records if in_place.all() else records[in_place]


def _are_in_place(kind: RecordKind, ring: int, first: int, records: NDArray[np.void]) -> NDArray[np.bool_]:
    expected = np.arange(first, first + len(records), dtype=np.uint64) | np.uint64(ring << POSITION_BITS)
    return np.asarray(kind.ids_of(records) == expected)


def seal_of(spans: Iterable[Span], oldest_ns: int) -> bytes:
    """What ends a closed segment."""
    body = np.array([tuple(span) for span in spans], dtype=SPAN_DTYPE)
    seal = np.zeros(1, dtype=_SEAL_DTYPE)
    seal["magic"], seal["oldest_ns"], seal["spans"] = _SEAL_MAGIC, oldest_ns, len(body)
    seal["crc"] = zlib.crc32(body.tobytes() + seal.tobytes()[:-_CRC_BYTES])
    return body.tobytes() + seal.tobytes()


def read_seal(tail: bytes) -> tuple[tuple[Span, ...], int] | None:
    """Spans and time of the oldest record from a segment's last bytes; None where no seal stands."""
    if len(tail) < _SEAL_DTYPE.itemsize:
        return None
    seal = np.frombuffer(tail[-_SEAL_DTYPE.itemsize :], dtype=_SEAL_DTYPE)[0]
    size = _SEAL_DTYPE.itemsize + int(seal["spans"]) * SPAN_DTYPE.itemsize
    if seal["magic"] != _SEAL_MAGIC or len(tail) < size or seal["crc"] != zlib.crc32(tail[-size:-_CRC_BYTES]):
        return None
    body = np.frombuffer(tail[-size : -_SEAL_DTYPE.itemsize], dtype=SPAN_DTYPE)
    return tuple(Span(*span) for span in body.tolist()), int(seal["oldest_ns"])
