"""workers/access/rows.py"""

import struct

import pytest

from workers.access.rows import END_NEVER, NULL, SUSPENDED, BlockRow, key_rows


def test_the_bytes_of_the_query_are_the_fields_of_a_row() -> None:
    """Network order, no gaps."""
    raw = struct.pack("!ihhiiqq32s", 7, 2, SUSPENDED, NULL, 20, 2**40, END_NEVER, bytes(range(32)))
    (row,) = key_rows(raw * 1)
    assert row["id"] == 7
    assert row["plan_id"] == 2
    assert row["state"] == SUSPENDED
    assert row["rate"] == NULL
    assert row["burst"] == 20
    assert row["monthly_quota"] == 2**40
    assert row["ends_at_us"] == END_NEVER
    assert row["digest"].tobytes() == bytes(range(32))


def test_a_block_is_a_network() -> None:
    """Another text never becomes a block."""
    assert BlockRow("2001:db8::/64", 0).network == "2001:db8::/64"
    with pytest.raises(ValueError, match="nonsense"):
        BlockRow("nonsense", 0)
