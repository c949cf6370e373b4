"""A kind of records of the tests alone: the way from the ring to the database knows nothing of usage."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.memory.atomics import store_release
from trinity.memory.record_ring import HEADER_WORDS, POSITION_BITS, WRITTEN, RecordRing
from trinity.store.connect import AnyConnection
from workers.ledger.kind import Groups, RecordKind, Records
from workers.ledger.sums import NS_PER_MINUTE, number_rows

START_NS = 1_800_000_000 * 10**9
_RECORD = np.dtype([("time_ns", "<i8"), ("call_id", "<u8"), ("target", "S64"), ("hook", "<u8"), ("sent_bytes", "<u8")])
_GROUP = np.dtype([("minute", "<i8"), ("hook", "<u8"), ("requests", "<i8"), ("sent_bytes", "<i8")])


class HookRing(RecordRing):
    """Records of 96 bytes."""

    magic = int.from_bytes(b"TESTHOOK", "little")
    folder = "hooks"
    record_dtype = _RECORD


def _merge(parts: list[Groups], unit_minutes: int) -> Groups:
    every = np.concatenate([*parts, np.zeros(0, dtype=_GROUP)])
    if len(every) == 0:
        return every
    every["minute"] -= every["minute"] % unit_minutes
    number, firsts = number_rows(every["minute"], every["hook"])
    merged = every[firsts]
    for name in ("requests", "sent_bytes"):
        merged[name] = 0
        np.add.at(merged[name], number, every[name])
    return merged


def _sum(records: Records) -> Groups:
    groups = np.zeros(len(records), dtype=_GROUP)
    groups["minute"], groups["requests"] = records["time_ns"] // NS_PER_MINUTE, 1
    groups["hook"], groups["sent_bytes"] = records["hook"], records["sent_bytes"]
    return _merge([groups], 1)


class HookChange(NamedTuple):
    """A row for each record, and one sum a minute and hook."""

    connection: AnyConnection
    with_row: Records
    groups: Groups

    def write(self) -> None:
        with self.connection.cursor() as cursor:
            names = ("call_id", "hook", "sent_bytes")
            rows = [tuple(int(record[name]) for name in names) for record in self.with_row]
            cursor.executemany("INSERT INTO hook_log VALUES (%s, %s, %s)", rows)
            sums = [tuple(int(value) for value in group) for group in self.groups.tolist()]
            cursor.executemany(_ADD_SUMS, sums)

    def committed(self) -> None:
        pass


class HookTables:
    """On one connection; `make_tables` made them."""

    def __init__(self, connection: AnyConnection, _node_id: int) -> None:
        self._connection = connection

    def of_records(self, records: Records) -> HookChange:
        return HookChange(self._connection, records, _sum(records))

    def of_sums(self, groups: Groups) -> HookChange:
        return HookChange(self._connection, np.zeros(0, dtype=_RECORD), groups)


def make_tables(connection: AnyConnection) -> None:
    """No migration knows them."""
    connection.execute("CREATE TABLE hook_log (call_id bigint PRIMARY KEY, hook bigint, sent_bytes bigint)")
    connection.execute(
        "CREATE TABLE hook_sums "
        "(minute bigint, hook bigint, requests bigint, sent_bytes bigint, PRIMARY KEY (minute, hook))"
    )
    connection.execute("CREATE TABLE hook_batches (LIKE usage_batches INCLUDING ALL)")


_ADD_SUMS = """
INSERT INTO hook_sums AS kept VALUES (%s, %s, %s, %s) ON CONFLICT (minute, hook) DO UPDATE SET
    requests = kept.requests + excluded.requests, sent_bytes = kept.sent_bytes + excluded.sent_bytes
"""

HOOKS = RecordKind(
    name="delivery",
    called="log of hooks",
    given_up="hooks are given up",
    ring=HookRing,
    group_dtype=_GROUP,
    sum_records=_sum,
    merge_groups=_merge,
    open_tables=HookTables,
    batches="hook_batches",
    lock=7,
)


def make_hooks(count: int, ring: int = 0, first: int = 1000, seed: int = 1) -> NDArray[np.void]:
    """Of three hooks, within two hours."""
    random = np.random.default_rng(seed)
    records = np.zeros(count, dtype=_RECORD)
    records["time_ns"] = START_NS + random.integers(0, 7200 * 10**9, count)
    records["call_id"] = np.arange(first, first + count, dtype=np.uint64) | np.uint64(ring << POSITION_BITS)
    records["target"], records["hook"] = b"hook.example", random.integers(0, 3, count)
    records["sent_bytes"] = random.integers(0, 1 << 20, count)
    return records


def make_hook_ring(folder: Path) -> HookRing:
    return HookRing.open(folder / "hook-ring-0", 0, 1024, 1000)


def call_hooks(ring: HookRing, count: int, seed: int = 1) -> NDArray[np.void]:
    """Append as a writer does; what was appended."""
    records = make_hooks(count, ring.number, ring.written, seed)
    words = records.view(np.uint64).reshape(count, -1)
    for i in range(count):
        place = HEADER_WORDS + (ring.written % ring.capacity) * words.shape[1]
        ring.words[place : place + words.shape[1]] = words[i]
        store_release(ring.words, WRITTEN, ring.written + 1)
    return records
