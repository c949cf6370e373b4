"""A block of the spool: some usage records of one ring, as they stood there, behind a checksummed header.

    header    HEADER_DTYPE, 32 bytes: magic, first position, ring, count, CRC-32 of the records, CRC-32 of the header
    records   count times 64 bytes

Rules: pure: bytes in, blocks out. A block whose records do not match their checksum (a torn tail, a bad disk) is kept
up to the last record that carries the request id of its place; behind a header that is none, nothing is believed.
"""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.memory.usage_ring import RECORD_DTYPE

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
RECORD_BYTES = RECORD_DTYPE.itemsize
_MAGIC = int.from_bytes(b"TRINITYB", "little")
_CRC_BYTES = 4
_POSITION_BITS = 56


class Block(NamedTuple):
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


def read_blocks(data: NDArray[np.uint8]) -> Iterator[Block]:
    """All blocks of a segment's bytes, up to the first that is not whole, or that is followed by no header."""
    at = 0
    while (found := read_header(data[at : at + HEADER_BYTES].tobytes())) is not None:
        ring, first, count = found
        header = data[at : at + HEADER_BYTES].view(HEADER_DTYPE)[0]
        body = data[at + HEADER_BYTES : at + HEADER_BYTES + count * RECORD_BYTES]
        whole = len(body) == count * RECORD_BYTES and zlib.crc32(body.data) == header["records_crc"]
        records = body[: len(body) // RECORD_BYTES * RECORD_BYTES].view(RECORD_DTYPE)
        if not whole:
            records = records[: good_records(ring, first, records)]
        yield Block(ring, first, records, at, whole)
        at += HEADER_BYTES + count * RECORD_BYTES


def good_records(ring: int, first: int, records: NDArray[np.void]) -> int:
    """How many records, from the first on, carry the request id of their place."""
    expected = np.arange(first, first + len(records), dtype=np.uint64) | np.uint64(ring << _POSITION_BITS)
    wrong = np.flatnonzero(records["request_id"] != expected)
    return int(wrong[0]) if len(wrong) else len(records)
