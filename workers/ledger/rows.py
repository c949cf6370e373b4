"""Rows for PostgreSQL as the bytes of binary COPY, built by numpy: no Python a row.

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
from workers.ledger.usage_sums import KEY_ID_MAX, SMALL_MAX

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

# Some 4 MB of COPY: enough to make calls rare, little enough that the drain's thread gets its turn.
ROWS_A_PIECE = 32_768

_EPOCH_US = 946_684_800_000_000  # 2000-01-01, PostgreSQL's zero
_US_PER_MINUTE = 60_000_000
_INT8_OID = 20

_INET = np.dtype([("family", "u1"), ("bits", "u1"), ("is_cidr", "u1"), ("size", "u1"), ("address", "u1", 16)])
_INET6 = (3, 128, 0, 16)  # PGSQL_AF_INET6 is AF_INET + 1 on every platform

_USAGE_COLUMNS = (
    ("time", ">i8"),
    ("request_id", ">i8"),
    ("address", _INET),
    ("key_id", ">i4"),
    ("latency_ns", ">i8"),
    ("node_id", ">i2"),
    ("asset_id", ">i2"),
    ("assets", ">i2"),
    ("status", ">i2"),
    ("protocol", ">i2"),
    ("source", ">i2"),
    ("code", ">i2"),
    ("weight", ">i2"),
)
_REFUSAL_COLUMNS = (
    ("start", ">i8"),
    ("network", _INET),
    ("code", ">i2"),
    ("status", ">i2"),
    ("protocol", ">i2"),
    ("requests", ">i8"),
    ("last", ">i8"),
)
_ELEMENT = np.dtype([("size", ">i4"), ("value", ">i8")])
_ARRAY = np.dtype(
    [
        ("dimensions", ">i4"),
        ("has_null", ">i4"),
        ("oid", ">i4"),
        ("length", ">i4"),
        ("lower", ">i4"),
        ("items", _ELEMENT, LATENCY_BUCKETS),
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


def _template(columns: Sequence[tuple[str, object]]) -> NDArray[np.void]:
    """One row with everything that is the same in all rows."""
    fields: list[tuple[str, object]] = [("columns", ">i2")]
    for name, kind in columns:
        fields += [(f"{name}_size", ">i4"), (name, kind)]
    row = np.zeros(1, dtype=np.dtype(fields))
    row["columns"] = len(columns)
    for name, _ in columns:
        row[f"{name}_size"] = row.dtype[name].itemsize
    return row


_USAGE_ROW = _template(_USAGE_COLUMNS)
for _field, _value in zip(("family", "bits", "is_cidr", "size"), _INET6, strict=True):
    _USAGE_ROW["address"][_field] = _value

_REFUSAL_ROW = _template(_REFUSAL_COLUMNS)
for _field, _value in (("family", _INET6[0]), ("is_cidr", 1), ("size", _INET6[3])):
    _REFUSAL_ROW["network"][_field] = _value

_SUM_ROW = _template(_SUM_COLUMNS)
for _field, _value in (("dimensions", 1), ("oid", _INT8_OID), ("length", LATENCY_BUCKETS), ("lower", 1)):
    _SUM_ROW["latency_buckets"][_field] = _value
_SUM_ROW["latency_buckets"]["items"]["size"] = 8


def usage_rows(
    records: NDArray[np.void], asset_ids: NDArray[np.int64], weights: NDArray[np.int64], node_id: int
) -> Iterator[bytes]:
    """COPY's bytes for usage_log, in pieces; `asset_ids` and `weights` have one for each record."""
    yield SIGNATURE
    for at in range(0, len(records), ROWS_A_PIECE):
        piece = records[at : at + ROWS_A_PIECE]
        rows = np.repeat(_USAGE_ROW, len(piece))
        rows["time"] = piece["time_ns"] // 1000 - _EPOCH_US
        rows["node_id"] = node_id
        rows["asset_id"] = asset_ids[at : at + ROWS_A_PIECE]
        rows["address"]["address"] = piece["address"]
        for name in ("request_id", "latency_ns", "protocol", "source", "code"):
            rows[name] = piece[name]
        rows["key_id"] = np.minimum(piece["key_id"], KEY_ID_MAX)
        for name in ("assets", "status"):
            rows[name] = np.minimum(piece[name], SMALL_MAX)
        rows["weight"] = np.minimum(weights[at : at + ROWS_A_PIECE], SMALL_MAX)
        yield rows.tobytes()
    yield TRAILER


def sum_rows(parts: Sequence[tuple[int, Groups, NDArray[np.int64]]]) -> Iterator[bytes]:
    """COPY's bytes for the batch's sums: unit in minutes, groups and their asset ids, for each unit."""
    yield SIGNATURE
    for unit, groups, asset_ids in parts:
        rows = np.repeat(_SUM_ROW, len(groups))
        rows["unit"] = unit
        rows["start"] = groups["minute"] * _US_PER_MINUTE - _EPOCH_US
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
    rows["start"] = groups["minute"] * _US_PER_MINUTE - _EPOCH_US
    rows["last"] = groups["last_ns"] // 1000 - _EPOCH_US
    rows["network"]["bits"] = groups["bits"]
    rows["network"]["address"] = np.ascontiguousarray(groups["network"]).view(np.uint8).reshape(-1, 16)
    for name in ("code", "status", "protocol", "requests"):
        rows[name] = groups[name]
    yield rows.tobytes()
    yield TRAILER
