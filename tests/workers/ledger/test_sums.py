"""workers/ledger/sums.py"""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.ledger.ledger_fixture import make_records
from trinity.vocabulary import LATENCY_BOUNDS_NS, LATENCY_BUCKETS
from workers.ledger.sums import (
    KEY_ID_MAX,
    NO_SUMS,
    NS_PER_MINUTE,
    SMALL_MAX,
    Span,
    Sums,
    decode_sums,
    encode_sums,
    merge_groups,
    merge_sums,
    read_head,
    sum_records,
)


def _by_hand(records: np.ndarray, unit_minutes: int = 1) -> dict[tuple[object, ...], list[int]]:
    sums: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0] * (3 + LATENCY_BUCKETS))
    for record in records:
        minute = int(record["time_ns"]) // NS_PER_MINUTE
        key = (
            minute - minute % unit_minutes,
            *(record[name].item() for name in ("key_id", "asset", "protocol", "status")),
        )
        latency = int(record["latency_ns"])
        bucket = sum(latency > bound for bound in LATENCY_BOUNDS_NS)
        for at, value in ((0, 1), (1, int(record["assets"])), (2, latency), (3 + bucket, 1)):
            sums[key][at] += value
    return dict(sums)


def _as_dict(groups: np.ndarray) -> dict[tuple[object, ...], list[int]]:
    made = {
        tuple(group[name].item() for name in ("minute", "key_id", "asset", "protocol", "status")): [
            *(int(group[name]) for name in ("requests", "lookups", "latency_sum_ns")),
            *group["latency_buckets"].tolist(),
        ]
        for group in groups
    }
    assert len(made) == len(groups), "no key comes twice"
    return made


@given(st.integers(0, 300), st.integers(0, 10**6), st.integers(1, 4))
def test_sums_are_what_adding_up_by_hand_gives(count: int, seed: int, keys: int) -> None:
    """Requests, lookups, latency and histogram of each minute, key, asset, protocol and status."""
    records = make_records(count, seed=seed, keys=keys)
    assert _as_dict(sum_records(records)) == _by_hand(records)


@given(st.lists(st.integers(0, 200), max_size=4), st.sampled_from([1, 60, 1440]))
def test_sums_of_parts_are_the_sum_of_the_whole(counts: list[int], unit_minutes: int) -> None:
    """However records are cut into batches; hours and days are sums of their minutes."""
    parts = [make_records(count, seed=i) for i, count in enumerate(counts)]
    merged = merge_groups([sum_records(part) for part in parts], unit_minutes)
    assert _as_dict(merged) == _by_hand(np.concatenate([*parts, make_records(0)]), unit_minutes)


def test_what_no_column_holds_is_clipped_before_it_is_grouped() -> None:
    """Two keys beyond the column become one group, not two rows of one key."""
    records = make_records(2)
    records[1] = records[0]
    records["key_id"], records["status"] = [2**32 - 1, 2**31], [65535, 40000]
    (group,) = sum_records(records)
    assert (group["key_id"], group["status"], group["requests"]) == (KEY_ID_MAX, SMALL_MAX, 2)


def test_sums_of_adjoining_positions_become_one() -> None:
    """Spans grow, groups are added; another ring keeps its own."""
    first = Sums((Span(0, 10, 20),), sum_records(make_records(10)))
    second = Sums((Span(0, 20, 25), Span(1, 5, 10)), sum_records(make_records(10, seed=2)))
    merged = merge_sums(first, second)
    assert set(merged.spans) == {Span(0, 10, 25), Span(1, 5, 10)}
    assert merged.requests == 20


def test_sums_survive_their_bytes_and_what_lies_behind_them() -> None:
    """A slot of the reserve is longer than what it holds."""
    sums = Sums((Span(2, 10, 40),), sum_records(make_records(30)))
    decoded = decode_sums(encode_sums(sums) + b"older bytes")
    assert decoded is not None
    assert decoded.spans == sums.spans
    assert decoded.groups.tobytes() == sums.groups.tobytes()
    assert decode_sums(encode_sums(NO_SUMS)) is not None


@given(st.data())
def test_damaged_sums_are_no_sums(data: st.DataObject) -> None:
    """A changed or missing byte anywhere."""
    whole = encode_sums(Sums((Span(2, 10, 14),), sum_records(make_records(4))))
    at = data.draw(st.integers(0, len(whole) - 1))
    assert decode_sums(whole[:at]) is None
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    assert decode_sums(bytes(changed)) is None


@pytest.mark.parametrize("junk", [b"", b"TRINITYS", bytes(64)])
def test_anything_else_is_no_sums(junk: bytes) -> None:
    """An empty slot of the reserve is all zero."""
    assert decode_sums(junk) is None


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
    hours = merge_sums(NO_SUMS, minutes, 60)
    joined = merge_sums(hours, minutes)
    head = read_head(encode_sums(joined)[:200])
    assert head is not None
    assert (head.spans, head.requests, head.unit_minutes) == (minutes.spans, 600, 60)
    assert head.groups == len(hours.groups) < len(minutes.groups) * 2
    assert head.oldest_minute == int(joined.groups["minute"].min())
    assert head.oldest_minute % 60 == 0
