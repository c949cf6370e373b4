"""workers/ledger/disk/block.py"""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.ledger.ledger_fixture import make_records
from workers.ledger.disk.block import (
    HEADER_BYTES,
    good_records,
    header_of,
    read_blocks,
    read_header,
    read_seal,
    records_in_place,
    seal_of,
)
from workers.ledger.sums import Span
from workers.ledger.usage.usage_tables import USAGE

RECORD_BYTES = USAGE.record_dtype.itemsize


def _bytes(*counts: int) -> bytes:
    """A segment of blocks with so many records, their positions in order."""
    made, first = b"", 1000
    for count in counts:
        records = make_records(count, ring=3, first=first)
        made += header_of(3, first, records) + records.tobytes()
        first += count
    return made


def test_blocks_are_read_as_they_were_written() -> None:
    """Ring, positions and records of each block, in order."""
    blocks = list(read_blocks(USAGE, np.frombuffer(_bytes(2, 5), dtype=np.uint8)))
    assert [(block.ring, block.first, block.end, block.whole) for block in blocks] == [
        (3, 1000, 1002, True),
        (3, 1002, 1007, True),
    ]
    assert blocks[1].records.tobytes() == make_records(5, 3, 1002).tobytes()
    assert read_header(_bytes(2)) == (3, 1000, 2)


@given(st.integers(0, 3 * HEADER_BYTES + 9 * RECORD_BYTES))
def test_a_torn_tail_is_cut_at_its_last_whole_record(size: int) -> None:
    """However many bytes were written, exactly the records that are whole come out."""
    data = _bytes(2, 3, 4)[:size]
    records = [record for block in read_blocks(USAGE, np.frombuffer(data, dtype=np.uint8)) for record in block.records]
    bounds, at = [], 0
    for count in (2, 3, 4):
        at += HEADER_BYTES
        bounds += [at + RECORD_BYTES * (i + 1) for i in range(count)]
        at += RECORD_BYTES * count
    assert [int(record["request_id"]) & 0xFFFF for record in records] == list(
        range(1000, 1000 + sum(bound <= size for bound in bounds))
    )


@given(st.binary(max_size=300))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    """What is no header ends the segment."""
    assert list(read_blocks(USAGE, np.frombuffer(data, dtype=np.uint8))) == []
    assert read_header(data) is None


@given(st.integers(0, 2 * HEADER_BYTES + 7 * RECORD_BYTES - 1), st.integers(1, 255))
def test_a_changed_byte_is_noticed(at: int, change: int) -> None:
    """The header's checksum or the records' says so; nothing behind a damaged header is believed."""
    data = bytearray(_bytes(3, 4))
    data[at] ^= change
    blocks = list(read_blocks(USAGE, np.frombuffer(bytes(data), dtype=np.uint8)))
    assert len(blocks) < 2 or not all(block.whole for block in blocks)


def test_records_of_another_place_are_not_taken() -> None:
    """After a machine's failure a ring may hold records of an older turn: their id is not that of their place."""
    records = make_records(6, ring=1, first=50)
    assert good_records(USAGE, 1, 50, records) == 6
    records["request_id"][4] = 99
    assert good_records(USAGE, 1, 50, records) == 4
    assert good_records(USAGE, 2, 50, records) == 0
    assert records_in_place(USAGE, 1, 50, records).tobytes() == np.delete(records, 4).tobytes()


def test_a_seal_is_read_from_the_end_and_is_no_block() -> None:
    """Whatever stands before it."""
    spans = (Span(0, 5, 10), Span(120, 1 << 55, (1 << 55) + 3))
    data = _bytes(2, 5) + seal_of(spans, 77)
    assert read_seal(data) == (spans, 77)
    assert [block.end for block in read_blocks(USAGE, np.frombuffer(data, dtype=np.uint8))] == [1002, 1007]
    assert read_seal(_bytes(2, 5)) is None


@given(st.data())
def test_a_damaged_seal_is_none(data: st.DataObject) -> None:
    """A changed or missing byte anywhere."""
    whole = seal_of([Span(2, 10, 14)], 5)
    at = data.draw(st.integers(0, len(whole) - 1))
    assert read_seal(whole[:at]) is None
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    assert read_seal(bytes(changed)) is None
