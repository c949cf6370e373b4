"""Rows of sums for PostgreSQL as the bytes of binary COPY, built by numpy: no Python a row. Single requests: runs.py.

Rules: pure. A structured array has COPY's layout: the number of columns, then length and value of each, big-endian
(PostgreSQL's documentation, COPY, "Binary Format"). Columns stand in the order of the COPY statements in
trinity/store/queries/. Values of a record that do not fit their column are clipped, never refused: a batch that cannot
be loaded would stop the ledger.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from trinity.vocabulary import LATENCY_BUCKETS
from workers.ledger.kind import Groups

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

EPOCH_US = 946_684_800_000_000  # 2000-01-01, PostgreSQL's zero
_US_PER_MINUTE = 60_000_000
INT8_OID = 20

_INET = np.dtype([("family", "u1"), ("bits", "u1"), ("is_cidr", "u1"), ("size", "u1"), ("address", "u1", 16)])
_INET6 = (3, 128, 0, 16)  # PGSQL_AF_INET6 is AF_INET + 1 on every platform

_REFUSAL_COLUMNS = (
    ("start", ">i8"),
    ("network", _INET),
    ("code", ">i2"),
    ("status", ">i2"),
    ("protocol", ">i2"),
    ("requests", ">i8"),
    ("last", ">i8"),
)
ELEMENT = np.dtype([("size", ">i4"), ("value", ">i8")])
_ARRAY = np.dtype(
    [
        ("dimensions", ">i4"),
        ("has_null", ">i4"),
        ("oid", ">i4"),
        ("length", ">i4"),
        ("lower", ">i4"),
        ("items", ELEMENT, LATENCY_BUCKETS),
    ]
)
_SUM_COLUMNS = (
    ("unit", ">i2"),
    ("start", ">i8"),
    ("key_id", ">i4"),
    ("asset_id", ">i2"),
    ("protocol", ">i2"),
    ("status", ">i2"),
    ("requests", ">i8"),
    ("lookups", ">i8"),
    ("latency_sum_ns", ">i8"),
    ("latency_buckets", _ARRAY),
)


def row_template(columns: Sequence[tuple[str, object]]) -> NDArray[np.void]:
    """One row with everything that is the same in all rows."""
    fields: list[tuple[str, object]] = [("columns", ">i2")]
    for name, kind in columns:
        fields += [(f"{name}_size", ">i4"), (name, kind)]
    row = np.zeros(1, dtype=np.dtype(fields))
    row["columns"] = len(columns)
    for name, _ in columns:
        row[f"{name}_size"] = row.dtype[name].itemsize
    return row


_REFUSAL_ROW = row_template(_REFUSAL_COLUMNS)
for _field, _value in (("family", _INET6[0]), ("is_cidr", 1), ("size", _INET6[3])):
    _REFUSAL_ROW["network"][_field] = _value

_SUM_ROW = row_template(_SUM_COLUMNS)
for _field, _value in (("dimensions", 1), ("oid", INT8_OID), ("length", LATENCY_BUCKETS), ("lower", 1)):
    _SUM_ROW["latency_buckets"][_field] = _value
_SUM_ROW["latency_buckets"]["items"]["size"] = 8


def sum_rows(parts: Sequence[tuple[int, Groups, NDArray[np.int64]]]) -> Iterator[bytes]:
    """COPY's bytes for the batch's sums: unit in minutes, groups and their asset ids, for each unit."""
    yield SIGNATURE
    for unit, groups, asset_ids in parts:
        rows = np.repeat(_SUM_ROW, len(groups))
        rows["unit"] = unit
        rows["start"] = groups["minute"] * _US_PER_MINUTE - EPOCH_US
        rows["asset_id"] = asset_ids
        for name in ("key_id", "status", "protocol", "requests", "lookups", "latency_sum_ns"):
            rows[name] = groups[name]
        rows["latency_buckets"]["items"]["value"] = groups["latency_buckets"]
        yield rows.tobytes()
    yield TRAILER


def refusal_rows(groups: NDArray[np.void]) -> Iterator[bytes]:
    """COPY's bytes for the sums of refusals without a key (refusals.py)."""
    yield SIGNATURE
    rows = np.repeat(_REFUSAL_ROW, len(groups))
    rows["start"] = groups["minute"] * _US_PER_MINUTE - EPOCH_US
    rows["last"] = groups["last_ns"] // 1000 - EPOCH_US
    rows["network"]["bits"] = groups["bits"]
    rows["network"]["address"] = np.ascontiguousarray(groups["network"]).view(np.uint8).reshape(-1, 16)
    for name in ("code", "status", "protocol", "requests"):
        rows[name] = groups[name]
    yield rows.tobytes()
    yield TRAILER
