"""workers/ledger/usage/usage_sums.py"""

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.ledger.ledger_fixture import make_records
from trinity.vocabulary import LATENCY_BOUNDS_NS, LATENCY_BUCKETS
from workers.ledger.sums import NS_PER_MINUTE
from workers.ledger.usage.usage_sums import KEY_ID_MAX, SMALL_MAX, merge_groups, sum_records


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
