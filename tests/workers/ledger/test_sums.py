"""workers/ledger/sums.py"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.ledger.ledger_fixture import make_records
from workers.ledger.sums import Span, Sums, decode_sums, encode_sums, merge_sums, no_sums, read_head
from workers.ledger.usage.usage_sums import sum_records
from workers.ledger.usage.usage_tables import USAGE


def test_sums_of_adjoining_positions_become_one() -> None:
    """Spans grow, groups are added; another ring keeps its own."""
    first = Sums((Span(0, 10, 20),), sum_records(make_records(10)))
    second = Sums((Span(0, 20, 25), Span(1, 5, 10)), sum_records(make_records(10, seed=2)))
    merged = merge_sums(USAGE, first, second)
    assert set(merged.spans) == {Span(0, 10, 25), Span(1, 5, 10)}
    assert merged.requests == 20


def test_sums_survive_their_bytes_and_what_lies_behind_them() -> None:
    """A slot of the reserve is longer than what it holds."""
    sums = Sums((Span(2, 10, 40),), sum_records(make_records(30)))
    decoded = decode_sums(USAGE, encode_sums(sums) + b"older bytes")
    assert decoded is not None
    assert decoded.spans == sums.spans
    assert decoded.groups.tobytes() == sums.groups.tobytes()
    assert decode_sums(USAGE, encode_sums(no_sums(USAGE))) is not None


@given(st.data())
def test_damaged_sums_are_no_sums(data: st.DataObject) -> None:
    """A changed or missing byte anywhere."""
    whole = encode_sums(Sums((Span(2, 10, 14),), sum_records(make_records(4))))
    at = data.draw(st.integers(0, len(whole) - 1))
    assert decode_sums(USAGE, whole[:at]) is None
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    assert decode_sums(USAGE, bytes(changed)) is None


@pytest.mark.parametrize("junk", [b"", b"TRINITYS", bytes(64)])
def test_anything_else_is_no_sums(junk: bytes) -> None:
    """An empty slot of the reserve is all zero."""
    assert decode_sums(USAGE, junk) is None


def test_sums_take_less_room_than_their_records_even_when_no_two_are_alike() -> None:
    """As with a great many keys: giving up detail always gains room."""
    records = make_records(5000, keys=1 << 30)
    records["latency_ns"] = np.random.default_rng(1).integers(0, 1 << 32, len(records))
    groups = sum_records(records)
    assert len(groups) == len(records)
    assert len(encode_sums(Sums((Span(0, 0, 5000),), groups))) < records.nbytes / 2


def test_the_head_says_what_the_groups_are() -> None:
    """Enough for a start, without the groups; joined sums count in the coarser unit."""
    records = make_records(300)
    minutes = Sums((Span(0, 0, 300),), sum_records(records))
    hours = merge_sums(USAGE, no_sums(USAGE), minutes, 60)
    joined = merge_sums(USAGE, hours, minutes)
    head = read_head(encode_sums(joined)[:200])
    assert head is not None
    assert (head.spans, head.requests, head.unit_minutes) == (minutes.spans, 600, 60)
    assert head.groups == len(hours.groups) < len(minutes.groups) * 2
    assert head.oldest_minute == int(joined.groups["minute"].min())
    assert head.oldest_minute % 60 == 0
