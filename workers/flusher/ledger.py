"""A file of the spool -> the database: rows, exact sums and the loaded position in one transaction.

Exactly once, whatever dies when:
    before the commit    nothing of it is there; the file is loaded again
    after the commit     the position says so; the file is skipped and removed
    commit unknown       the next transaction asks for the position, after it has got the node's advisory lock: so a
                         predecessor's transaction that is still under way has ended by then
Positions of a ring that are missing before a batch (a failed machine, a bad disk) are counted and logged.

Rules: no Python a row. Days get their partition, and names of assets their number, before the transaction: both are
true whether it commits or not.
"""

import datetime
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.limits import ASSET_NAME_BYTES_MAX
from trinity.memory.usage_ring import RECORD_DTYPE
from trinity.store import partitions
from trinity.store.connect import AnyConnection
from trinity.store.queries import load
from workers.flusher.block import Block, read_blocks
from workers.flusher.rows import sum_rows, usage_rows
from workers.flusher.spool import Unit, read_segment
from workers.flusher.sums import NS_PER_MINUTE, UNITS_MINUTES, Groups, Span, decode_sums, group_records, merge_groups

_UPSERTS = ("ledger.add_minutes", "ledger.add_hours", "ledger.add_days")
# The catalog has at most 256 assets; names beyond this come from nowhere and would use up the numbers.
_ASSETS_MAX = 4096
_MINUTES_A_DAY = 1440
# A ring that was made anew begins at least this far ahead, so a wider gap is no loss.
_GAP_MAX = 1 << 24


class Loaded(NamedTuple):
    """What one file brought: rows in the database, records of which there is only the sum, records that are missing."""

    rows: int
    lost_detail: int
    missing: int


class Ledger:
    """The ledger's tables on one connection (autocommit), for one node."""

    def __init__(self, connection: AnyConnection, node: uuid.UUID, name: str) -> None:
        self._connection = connection
        connection.execute(load("ledger.prepare"))
        connection.execute(load("ledger.create_sums"))
        self.node_id = _node_id(connection, node, name)
        self._asset_ids: dict[bytes, int] = {}
        self._days: set[datetime.date] = set()

    def load(self, unit: Unit) -> Loaded:
        """Load one file; when it returns, the file may be removed. Raises psycopg.Error."""
        return self._load_sums(unit) if unit.is_sum else self._load_segment(unit)

    def _load_segment(self, unit: Unit) -> Loaded:
        blocks = list(read_blocks(read_segment(unit.path)))
        unreadable = unit.records - sum(len(block.records) for block in blocks)
        self._prepare(blocks)
        with self._connection.transaction():
            loaded = self._lock_and_read(sorted(unit.spans))
            missing = _missing(unit.spans, loaded) + unreadable
            blocks = [part for block in blocks if len((part := _not_loaded(block, loaded)).records)]
            records = np.concatenate([block.records for block in blocks] or [np.zeros(0, dtype=RECORD_DTYPE)])
            if len(records) == 0:
                return Loaded(0, 0, missing)
            groups, number = group_records(records)
            ids = self._ids_of(groups)
            self._copy("ledger.copy_usage", usage_rows(records, ids[number], self.node_id))
            self._add_sums(groups, ids)
            for span in _spans(blocks):
                self._add_batch(span, rows=span.end - span.first, lost=0)
        return Loaded(len(records), 0, missing)

    def _load_sums(self, unit: Unit) -> Loaded:
        sums = decode_sums(unit.path.read_bytes())
        if sums is None:
            return Loaded(0, 0, unit.records)
        self._ensure(_days_of(sums.groups["minute"]))
        with self._connection.transaction():
            loaded = self._lock_and_read(sorted(unit.spans))
            if all(span.end <= loaded.get(span.ring, 0) for span in sums.spans):
                return Loaded(0, 0, 0)
            self._add_sums(sums.groups, self._ids_of(sums.groups))
            for span in sums.spans:
                self._add_batch(span, rows=0, lost=span.end - span.first)
        return Loaded(0, sums.records, _missing(unit.spans, loaded))

    def _lock_and_read(self, rings: Sequence[int]) -> Mapping[int, int]:
        self._connection.execute(load("ledger.lock"), [self.node_id])
        found = self._connection.execute(load("ledger.loaded"), {"rings": rings, "node_id": self.node_id})
        return dict(found.fetchall())

    def _add_sums(self, groups: Groups, ids: NDArray[np.int64]) -> None:
        # Names without a number are one asset, "none": their groups become one.
        groups = groups.copy()
        groups["asset"][ids == 0] = b""
        minutes = merge_groups([groups])
        parts = [(unit, merge_groups([minutes], unit)) for unit in UNITS_MINUTES]
        self._copy("ledger.copy_sums", sum_rows([(unit, part, self._ids_of(part)) for unit, part in parts]))
        for name in _UPSERTS:
            self._connection.execute(load(name), [self.node_id])

    def _add_batch(self, span: Span, rows: int, lost: int) -> None:
        values = {"node_id": self.node_id, "ring": span.ring, "first": span.first, "end": span.end}
        self._connection.execute(load("ledger.add_batch"), values | {"rows": rows, "lost": lost})

    def _copy(self, name: str, pieces: Any) -> None:
        with self._connection.cursor() as cursor, cursor.copy(load(name)) as copy:
            for piece in pieces:
                copy.write(piece)

    def _prepare(self, blocks: Sequence[Block]) -> None:
        for block in blocks:
            self._ensure(_days_of(block.records["time_ns"] // NS_PER_MINUTE))
            self._add_names(np.unique(block.records["asset"]))

    def _ensure(self, days: set[datetime.date]) -> None:
        if days - self._days:
            partitions.ensure_days(self._connection, sorted(days - self._days))
            self._days |= days

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


def _node_id(connection: AnyConnection, node: uuid.UUID, name: str) -> int:
    find, values = load("ledger.find_node"), [node]
    row = connection.execute(find, values).fetchone()
    if row is None:
        connection.execute(load("ledger.add_node"), [node, name])
        row = connection.execute(find, values).fetchone()
    assert row is not None
    connection.execute(load("ledger.rename_node"), {"id": row[0], "name": name})
    return int(row[0])


def _is_storable(name: bytes) -> bool:
    return name.isascii() and name.decode("ascii").isprintable() and len(name) <= ASSET_NAME_BYTES_MAX


def _days_of(minutes: NDArray[np.int64]) -> set[datetime.date]:
    days = np.unique(minutes // _MINUTES_A_DAY)
    return {datetime.date(1970, 1, 1) + datetime.timedelta(days=int(day)) for day in days}


def _not_loaded(block: Block, loaded: Mapping[int, int]) -> Block:
    """The part of a block behind what is loaded; nearly always all of it."""
    skip = min(max(loaded.get(block.ring, 0) - block.first, 0), len(block.records))
    return block._replace(first=block.first + skip, records=block.records[skip:])


def _missing(spans: Mapping[int, Span], loaded: Mapping[int, int]) -> int:
    gaps = [span.first - loaded.get(span.ring, span.first) for span in spans.values()]
    return sum(gap for gap in gaps if 0 < gap < _GAP_MAX)


def _spans(blocks: Sequence[Block]) -> list[Span]:
    """The positions of each ring, from its first block to its last."""
    spans: dict[int, Span] = {}
    for block in blocks:
        before = spans.get(block.ring)
        spans[block.ring] = Span(block.ring, before.first if before else block.first, block.end)
    return list(spans.values())
