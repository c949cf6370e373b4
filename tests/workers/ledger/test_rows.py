"""workers/ledger/rows.py: what PostgreSQL makes of the bytes is shown in test_ledger.py."""

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.ledger.ledger_fixture import make_records
from trinity.vocabulary import LATENCY_BUCKETS
from workers.ledger import rows as module
from workers.ledger.rows import SIGNATURE, TRAILER, sum_rows, usage_rows
from workers.ledger.usage_sums import sum_records


def _fields(data: bytes) -> list[list[bytes]]:
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


@given(st.integers(0, 20))
def test_each_record_is_one_row_of_the_documented_format(count: int) -> None:
    """Thirteen columns with their lengths, all big-endian."""
    records = make_records(count)
    ids = np.arange(count)
    rows = _fields(b"".join(usage_rows(records, ids, ids + 1, 5)))
    assert [[len(field) for field in row] for row in rows] == [[8, 8, 20, 4, 8, 2, 2, 2, 2, 2, 2, 2, 2]] * count
    for row, record, number in zip(rows, records, ids, strict=True):
        assert struct.unpack(">q", row[1])[0] == int(record["request_id"])
        assert row[2] == bytes((3, 128, 0, 16)) + bytes(record["address"])
        assert struct.unpack(">hhh", row[5] + row[6] + row[12]) == (5, number, number + 1)


def test_pieces_are_cut_without_a_seam(monkeypatch: object) -> None:
    """A batch of several pieces is the same stream as one of a single piece."""
    records = make_records(50)
    whole = b"".join(usage_rows(records, np.zeros(50, dtype=np.int64), np.ones(50, dtype=np.int64), 1))
    module.ROWS_A_PIECE, before = 7, module.ROWS_A_PIECE
    try:
        assert b"".join(usage_rows(records, np.zeros(50, dtype=np.int64), np.ones(50, dtype=np.int64), 1)) == whole
    finally:
        module.ROWS_A_PIECE = before


def test_values_that_no_column_holds_are_clipped() -> None:
    """The batch is loaded whatever a record says."""
    records = make_records(1)
    records["key_id"], records["assets"], records["status"] = 2**32 - 1, 65535, 65535
    (row,) = _fields(b"".join(usage_rows(records, np.zeros(1, dtype=np.int64), np.full(1, 2**40), 1)))
    assert struct.unpack(">i", row[3])[0] == 2**31 - 1
    assert [struct.unpack(">h", row[at])[0] for at in (7, 8, 12)] == [2**15 - 1] * 3


def test_sums_carry_their_histogram_as_an_array() -> None:
    """One dimension, no null, int8, from 1 on."""
    groups = sum_records(make_records(30))
    rows = _fields(b"".join(sum_rows([(1, groups, np.arange(len(groups))), (60, groups[:2], np.arange(2))])))
    assert [struct.unpack(">h", row[0])[0] for row in rows] == [1] * len(groups) + [60] * 2
    array = rows[0][-1]
    assert struct.unpack_from(">5i", array) == (1, 0, 20, LATENCY_BUCKETS, 1)
    items = [struct.unpack_from(">iq", array, 20 + 12 * i) for i in range(LATENCY_BUCKETS)]
    assert items == [(8, value) for value in groups["latency_buckets"][0].tolist()]
