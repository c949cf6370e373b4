"""Usage in the database: each answer, packed with those like it; exact sums by minute, hour and day, and of refusals.

Of refusals without a key only some have a row (refusals.py); all are in the sums.

Rules: no Python a row. Days get their partition, and names of assets their number, before the transaction: both are
true whether it commits or not.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trinity.limits import ASSET_NAME_BYTES_MAX
from trinity.memory.usage_ring import RECORD_DTYPE, UsageRing
from trinity.store.connect import AnyConnection
from trinity.store.queries import load, load_for
from workers.ledger.days import EnsuredDays
from workers.ledger.kind import Groups, RecordKind, Records, TableChange
from workers.ledger.rows import refusal_rows, sum_rows
from workers.ledger.sums import NS_PER_MINUTE, UNITS_MINUTES
from workers.ledger.usage.refusals import Condensed, Condenser
from workers.ledger.usage.runs import usage_runs
from workers.ledger.usage.usage_sums import GROUP_DTYPE, group_records, merge_groups, number_by_caller, sum_records

# The tables of the sums, by the minutes of their unit.
_SUM_TABLES = dict(zip(UNITS_MINUTES, ("usage_minute", "usage_hour", "usage_day"), strict=True))
# The catalog has at most 256 assets; names beyond this come from nowhere and would use up the numbers.
_ASSETS_MAX = 4096


class UsageTables:
    """Usage's tables on one connection (autocommit), for one node."""

    def __init__(self, connection: AnyConnection, node_id: int) -> None:
        self._connection, self._node_id = connection, node_id
        connection.execute(load("ledger.create_sums"))
        self._asset_ids: dict[bytes, int] = {}
        self._days = EnsuredDays(connection)
        self._condenser = Condenser()

    def of_records(self, records: Records) -> TableChange:
        """Rows, sums, and the sums of refusals without a key."""
        self._days.ensure(records["time_ns"] // NS_PER_MINUTE)
        groups, number = group_records(records)
        ids, alike = self._ids_of(groups), number_by_caller(groups)
        condensed = self._condenser.condense(records)
        detail = records if condensed.sampled == 0 else records[condensed.rows]

        def write() -> None:
            if len(records):
                of_group = alike[number[condensed.rows]], ids[number[condensed.rows]]
                self._copy("ledger.copy_usage", usage_runs(detail, *of_group, condensed.weights, self._node_id))
                self._add_sums(groups, ids)
            self._add_refusals(condensed)

        return TableChange(detail, write, lambda: self._condenser.commit(condensed))

    def of_sums(self, groups: Groups) -> TableChange:
        """Sums alone."""
        self._days.ensure(groups["minute"])
        ids = self._ids_of(groups)

        def write() -> None:
            if len(groups):
                self._add_sums(groups, ids)

        return TableChange(np.zeros(0, dtype=RECORD_DTYPE), write)

    def _add_sums(self, groups: Groups, ids: NDArray[np.int64]) -> None:
        # Names without a number are one asset, "none": their groups become one.
        groups = groups.copy()
        groups["asset"][ids == 0] = b""
        minutes = merge_groups([groups])
        parts = [(unit, merge_groups([minutes], unit)) for unit in UNITS_MINUTES]
        self._copy("ledger.copy_sums", sum_rows([(unit, part, self._ids_of(part)) for unit, part in parts]))
        for unit, table in _SUM_TABLES.items():
            values = {"node_id": self._node_id, "unit_minutes": unit}
            self._connection.execute(load_for("ledger.add_sums", table), values)

    def _add_refusals(self, condensed: Condensed) -> None:
        if len(condensed.groups):
            self._copy("ledger.copy_refusals", refusal_rows(condensed.groups))
            self._connection.execute(load("ledger.add_refusals"), [self._node_id])

    def _copy(self, name: str, pieces: Any) -> None:
        with self._connection.cursor() as cursor, cursor.copy(load(name)) as copy:
            for piece in pieces:
                copy.write(piece)

    def _ids_of(self, groups: Groups) -> NDArray[np.int64]:
        """The number of each group's asset; 0 for none, and for names that cannot be kept."""
        names, inverse = np.unique(groups["asset"], return_inverse=True)
        self._add_names(names)
        return np.array([self._asset_ids.get(name, 0) for name in names.tolist()], dtype=np.int64)[inverse]

    def _add_names(self, names: NDArray[np.bytes_]) -> None:
        new = [name for name in names.tolist() if name and name not in self._asset_ids and _is_storable(name)]
        if not new:
            return
        if len(self._asset_ids) + len(new) <= _ASSETS_MAX:
            self._connection.execute(load("ledger.add_assets"), [[name.decode("ascii") for name in new]])
        rows = self._connection.execute(load("ledger.assets")).fetchall()
        self._asset_ids = dict.fromkeys(new, 0) | {name.encode(): number for name, number in rows}


def _is_storable(name: bytes) -> bool:
    return name.isascii() and name.decode("ascii").isprintable() and len(name) <= ASSET_NAME_BYTES_MAX


USAGE = RecordKind(
    name="usage",
    called="ledger",
    given_up="usage detail is given up, sums stay exact",
    ring=UsageRing,
    group_dtype=GROUP_DTYPE,
    sum_records=sum_records,
    merge_groups=merge_groups,
    open_tables=UsageTables,
    batches="usage_batches",
    lock=1819304562,  # any number that is no other kind's
)
