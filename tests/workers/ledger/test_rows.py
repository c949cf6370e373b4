"""workers/ledger/rows.py: what PostgreSQL makes of the bytes is shown in test_ledger.py."""

import struct

import numpy as np

from tests.workers.ledger.ledger_fixture import make_records
from trinity.vocabulary import LATENCY_BUCKETS
from workers.ledger.rows import SIGNATURE, TRAILER, sum_rows
from workers.ledger.usage.usage_sums import sum_records


def fields_of(data: bytes) -> list[list[bytes]]:
    """The format read by its documentation, byte by byte."""
    assert data.startswith(SIGNATURE)
    assert data.endswith(TRAILER)
    at, rows = len(SIGNATURE), []
    while at < len(data) - len(TRAILER):
        (columns,) = struct.unpack_from(">h", data, at)
        at += 2
        row = []
        for _ in range(columns):
            (size,) = struct.unpack_from(">i", data, at)
            row.append(data[at + 4 : at + 4 + size])
            at += 4 + size
        rows.append(row)
    return rows


def test_sums_carry_their_histogram_as_an_array() -> None:
    """One dimension, no null, int8, from 1 on."""
    groups = sum_records(make_records(30))
    rows = fields_of(b"".join(sum_rows([(1, groups, np.arange(len(groups))), (60, groups[:2], np.arange(2))])))
    assert [struct.unpack(">h", row[0])[0] for row in rows] == [1] * len(groups) + [60] * 2
    array = rows[0][-1]
    assert struct.unpack_from(">5i", array) == (1, 0, 20, LATENCY_BUCKETS, 1)
    items = [struct.unpack_from(">iq", array, 20 + 12 * i) for i in range(LATENCY_BUCKETS)]
    assert items == [(8, value) for value in groups["latency_buckets"][0].tolist()]
