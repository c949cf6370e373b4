"""The ledger's packed rows as binary COPY gives them, unpacked: columns of numbers, one element a request.

Rules: pure numpy, no Python a request, one step a row of the table (a run of up to 240 requests). Rows of one length
have one layout, so those are taken apart together. What a run's numbers are: trinity/store/migrations/0004-runs.sql.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# PostgreSQL's documentation, COPY, "Binary Format".
SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER_BYTES = len(SIGNATURE) + 8
TRAILER = b"\xff\xff"
EPOCH_US = 946_684_800_000_000  # 2000-01-01, PostgreSQL's zero

# The columns of sync.copy_runs, each behind its length.
_SHARED = (
    ("second", ">i8"), ("base_id", ">i8"), ("key_id", ">i4"), ("node_id", ">i2"), ("rows", ">i2"), ("protocol", ">i2"),
    ("status", ">i2"), ("code", ">i2"), ("weight", ">i2"),
)  # fmt: skip
_ARRAY_HEAD_BYTES = 20
_ELEMENT = np.dtype([("size", ">i4"), ("value", ">i8")])
_HEAD = np.dtype(
    [("columns", ">i2")]
    + [part for name, kind in _SHARED for part in ((f"{name}_bytes", ">i4"), (name, kind))]
    + [("words_bytes", ">i4"), ("array_head", f"V{_ARRAY_HEAD_BYTES}")]
)


class Requests(NamedTuple):
    """One element a request; small numbers are indexes of the tuples in trinity/vocabulary.py."""

    time_us: NDArray[np.int64]  # since 1970
    request_id: NDArray[np.int64]
    node_id: NDArray[np.int64]
    key_id: NDArray[np.int64]
    asset_id: NDArray[np.int64]
    assets: NDArray[np.int64]
    protocol: NDArray[np.int64]
    status: NDArray[np.int64]
    code: NDArray[np.int64]
    source: NDArray[np.int64]
    latency_ns: NDArray[np.int64]
    weight: NDArray[np.int64]
    address: NDArray[np.uint64]  # the halves of an IPv6 address, as numbers

    @property
    def total(self) -> int:
        return len(self.time_us)


def rows_of(messages: Iterable[bytes | bytearray | memoryview]) -> Iterable[bytes]:
    """The rows of COPY's messages: each is one, but the first also has the header, and the last is none."""
    for message in messages:
        row = bytes(message)
        if row.startswith(SIGNATURE):
            row = row[_HEADER_BYTES:]
        if row and row != TRAILER:
            yield row


def second_of(row: bytes) -> int:
    """The second of a row, since 1970."""
    return (int.from_bytes(row[6:14], signed=True) + EPOCH_US) // 1_000_000


def unpack(rows: Sequence[bytes]) -> Requests:
    """The requests of some rows; in no order."""
    by_length: dict[int, list[bytes]] = {}
    for row in rows:
        by_length.setdefault(len(row), []).append(row)
    parts = [_unpack_alike(b"".join(alike), length) for length, alike in by_length.items()]
    if not parts:
        none = np.zeros(0, dtype=np.int64)
        return Requests(
            none, none, none, none, none, none, none, none, none, none, none, none, np.zeros((0, 2), dtype=np.uint64)
        )
    return Requests(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _unpack_alike(data: bytes, length: int) -> Requests:
    """Rows of one length. One with a single address for all may be as long as a shorter one with an address each."""
    elements = (length - _HEAD.itemsize) // _ELEMENT.itemsize
    table = np.frombuffer(data, dtype=np.dtype([("head", _HEAD), ("elements", _ELEMENT, elements)]))
    counts = table["head"]["rows"].astype(np.int64)
    found = np.unique(counts)
    parts = [_unpack_counted(table[counts == count], int(count)) for count in found.tolist()]
    return Requests(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _unpack_counted(table: NDArray[np.void], count: int) -> Requests:
    """Rows of one length and number of requests."""
    head, words = table["head"], table["elements"]["value"].astype(np.int64)
    first, second = words[:, 0 : 2 * count : 2].ravel(), words[:, 1 : 2 * count : 2].ravel()
    addresses = words[:, 2 * count :].astype(np.uint64).reshape(len(table), -1, 2)
    if addresses.shape[1] != count:
        addresses = np.broadcast_to(addresses[:, :1], (len(table), count, 2))

    def of_run(name: str) -> NDArray[np.int64]:
        return np.repeat(head[name].astype(np.int64), count)

    return Requests(
        time_us=of_run("second") + EPOCH_US + (first >> 32),
        request_id=of_run("base_id") + (second >> 38),
        node_id=of_run("node_id"),
        key_id=of_run("key_id"),
        asset_id=second >> 23 & 0x7FFF,
        assets=second >> 8 & 0x7FFF,
        protocol=of_run("protocol"),
        status=of_run("status"),
        code=of_run("code"),
        source=second & 0xFF,
        latency_ns=first & 0xFFFFFFFF,
        weight=of_run("weight"),
        address=addresses.reshape(-1, 2),
    )
