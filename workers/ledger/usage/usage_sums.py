"""Exact sums of usage records: by minute, key, asset, protocol and status, with the latency histogram.

Rules: pure numpy, no Python a record; integers only, so sums are exact in any order.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trinity.vocabulary import LATENCY_BOUNDS_NS, LATENCY_BUCKETS
from workers.ledger.kind import Groups, Records
from workers.ledger.sums import NS_PER_MINUTE, number_rows

# PostgreSQL's integer and smallint.
KEY_ID_MAX = 2**31 - 1
SMALL_MAX = 2**15 - 1

GROUP_DTYPE = np.dtype(
    [
        ("minute", "<i8"),  # minutes since 1970
        ("asset", "S16"),
        ("key_id", "<u4"),
        ("status", "<u2"),
        ("protocol", "<u2"),
        ("requests", "<i8"),
        ("lookups", "<i8"),
        ("latency_sum_ns", "<i8"),
        ("latency_buckets", "<i8", LATENCY_BUCKETS),
    ]
)
_BOUNDS_NS = np.array(LATENCY_BOUNDS_NS, dtype=np.uint32)


def sum_records(records: Records) -> Groups:
    """The groups of some records."""
    return group_records(records)[0]


def group_records(records: NDArray[np.void]) -> tuple[Groups, NDArray[np.int64]]:
    """The groups of some records, and the number of each record's group."""
    if len(records) == 0:
        return np.zeros(0, dtype=GROUP_DTYPE), np.zeros(0, dtype=np.int64)
    minutes = records["time_ns"] // NS_PER_MINUTE
    assets = np.ascontiguousarray(records["asset"])
    # Clipped to what the columns hold before they are grouped, so that no group comes twice.
    keys = np.minimum(records["key_id"], KEY_ID_MAX)
    statuses = np.minimum(records["status"], SMALL_MAX)
    number, firsts = number_rows(minutes, _few(keys, statuses, records["protocol"]), *_words(assets))
    groups = np.zeros(len(firsts), dtype=GROUP_DTYPE)
    for name, values in (("minute", minutes), ("asset", assets), ("key_id", keys), ("status", statuses)):
        groups[name] = values[firsts]
    groups["protocol"] = records["protocol"][firsts]
    count = len(groups)
    groups["requests"] = np.bincount(number, minlength=count)
    # Doubles are exact to 2**53: 2**20 records of 2**32 ns are 2**52.
    assert len(records) <= 1 << 20
    groups["lookups"] = np.bincount(number, records["assets"], count).astype(np.int64)
    groups["latency_sum_ns"] = np.bincount(number, records["latency_ns"], count).astype(np.int64)
    bucket = np.searchsorted(_BOUNDS_NS, records["latency_ns"])
    in_buckets = np.bincount(number * LATENCY_BUCKETS + bucket, minlength=count * LATENCY_BUCKETS)
    groups["latency_buckets"] = in_buckets.reshape(count, LATENCY_BUCKETS)
    return groups, number


def number_by_caller(groups: Groups) -> NDArray[np.int64]:
    """A number for each group that is the same for those of one key, status and protocol."""
    if len(groups) == 0:
        return np.zeros(0, dtype=np.int64)
    return number_rows(_few(groups["key_id"], groups["status"], groups["protocol"]))[0]


def merge_groups(parts: Sequence[Groups], unit_minutes: int = 1) -> Groups:
    """One group for each key of several; `unit_minutes` 60 or 1440 sums up hours or days (UTC)."""
    every = np.concatenate([*parts, np.zeros(0, dtype=GROUP_DTYPE)])
    if len(every) == 0:
        return every
    every["minute"] -= every["minute"] % unit_minutes
    few = _few(every["key_id"], every["status"], every["protocol"])
    number, firsts = number_rows(every["minute"], few, *_words(np.ascontiguousarray(every["asset"])))
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(len(firsts)))
    merged = every[firsts]
    for name in ("requests", "lookups", "latency_sum_ns", "latency_buckets"):
        merged[name] = np.add.reduceat(every[name][order], starts, axis=0)
    return merged


def _few(
    keys: NDArray[np.generic], statuses: NDArray[np.generic], protocols: NDArray[np.generic]
) -> NDArray[np.uint64]:
    """Three columns as one."""
    few = keys.astype(np.uint64) << np.uint64(32)
    few |= statuses.astype(np.uint64) << np.uint64(16) | protocols.astype(np.uint64)
    return few


def _words(assets: NDArray[np.bytes_]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Names as two numbers each: those are sorted ten times as fast."""
    words = assets.view(np.uint64).reshape(-1, 2)
    return words[:, 0], words[:, 1]
