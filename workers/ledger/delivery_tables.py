"""Deliveries in the database: one row each. And DELIVERY, the kind itself.

Of a delivery whose row is given up (the disk is full, the spool has reached its bound) nothing stays but that there was
one: delivery_batches counts it. A record of deliveries adds up to how many they were in a minute, and no more.

Rules: no Python a row. Days get their partition before the transaction. Values that do not fit their column are
clipped, never refused: a batch that cannot be loaded would stop the log.
"""

from collections.abc import Iterator

import numpy as np

from trinity.clock import NS_PER_US
from trinity.memory.delivery_ring import RECORD_DTYPE, DeliveryRing
from trinity.store.connect import AnyConnection
from trinity.store.queries import load
from workers.ledger.days import EnsuredDays
from workers.ledger.kind import Groups, RecordKind, Records, TableChange
from workers.ledger.rows import EPOCH_US, SIGNATURE, TRAILER, row_template
from workers.ledger.sums import NS_PER_MINUTE

GROUP_DTYPE = np.dtype([("minute", "<i8"), ("requests", "<i8")])

_INT4_MAX, _INT2_MAX = 2**31 - 1, 2**15 - 1
# Some 3 MB of COPY a piece.
_RECORDS_A_PIECE = 32_768

# In the order of ledger.copy_deliveries.
_ROW = row_template(
    (
        ("time", ">i8"),
        ("delivery_id", ">i8"),
        ("subscription_id", ">i8"),
        ("sequence", ">i8"),
        ("latency_ns", ">i8"),
        ("late_us", ">i8"),
        ("account_id", ">i4"),
        ("node_id", ">i2"),
        ("status", ">i2"),
        ("assets", ">i2"),
        ("outcome", ">i2"),
        ("attempts", ">i2"),
        ("kind", ">i2"),
    )
)
_AS_THEY_ARE = ("delivery_id", "subscription_id", "sequence", "latency_ns", "late_us", "outcome", "attempts")


class DeliveryTables:
    """The table of deliveries on one connection (autocommit), for one node."""

    def __init__(self, connection: AnyConnection, node_id: int) -> None:
        self._connection, self._node_id = connection, node_id
        self._days = EnsuredDays(connection)

    def of_records(self, records: Records) -> TableChange:
        """A row each."""
        self._days.ensure(records["time_ns"] // NS_PER_MINUTE)

        def write() -> None:
            with self._connection.cursor() as cursor, cursor.copy(load("ledger.copy_deliveries")) as copy:
                for piece in delivery_rows(records, self._node_id):
                    copy.write(piece)

        return TableChange(records, write)

    def of_sums(self, _groups: Groups) -> TableChange:
        """Nothing: the batch says how many there were."""
        return TableChange(np.zeros(0, dtype=RECORD_DTYPE))


def delivery_rows(records: Records, node_id: int) -> Iterator[bytes]:
    """COPY's bytes for push_deliveries, in pieces."""
    yield SIGNATURE
    for first in range(0, len(records), _RECORDS_A_PIECE):
        part = records[first : first + _RECORDS_A_PIECE]
        rows = np.repeat(_ROW, len(part))
        rows["time"] = part["time_ns"] // NS_PER_US - EPOCH_US
        for name in _AS_THEY_ARE:
            rows[name] = part[name]
        rows["account_id"] = np.minimum(part["account_id"], _INT4_MAX)
        rows["status"] = np.minimum(part["status"], _INT2_MAX)
        rows["assets"] = np.minimum(part["assets"], _INT2_MAX)
        rows["kind"], rows["node_id"] = part["reason"], node_id
        yield rows.tobytes()
    yield TRAILER


def sum_records(records: Records) -> Groups:
    """How many there were in each minute."""
    minutes, counts = np.unique(records["time_ns"] // NS_PER_MINUTE, return_counts=True)
    groups = np.zeros(len(minutes), dtype=GROUP_DTYPE)
    groups["minute"], groups["requests"] = minutes, counts
    return groups


def merge_groups(parts: list[Groups], unit_minutes: int = 1) -> Groups:
    """How many there were in each unit of several sums."""
    every = np.concatenate([*parts, np.zeros(0, dtype=GROUP_DTYPE)])
    minutes, number = np.unique(every["minute"] - every["minute"] % unit_minutes, return_inverse=True)
    groups = np.zeros(len(minutes), dtype=GROUP_DTYPE)
    groups["minute"] = minutes
    np.add.at(groups["requests"], number, every["requests"])
    return groups


DELIVERY = RecordKind(
    name="delivery",
    called="delivery log",
    given_up="deliveries are given up, only their number stays",
    ring=DeliveryRing,
    group_dtype=GROUP_DTYPE,
    sum_records=sum_records,
    merge_groups=merge_groups,
    open_tables=DeliveryTables,
    batches="delivery_batches",
    lock=1819304563,  # any number that is no other kind's
)
