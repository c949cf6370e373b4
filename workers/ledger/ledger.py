"""A file of the spool -> the database: rows, exact sums and the loaded position in one transaction.

Of refusals without a key only some have a row (refusals.py); all are in the sums.

Exactly once, whatever dies when:
    before the commit    nothing of it is there; the file is loaded again
    after the commit     the position says so; the file is skipped and removed
    commit unknown       the next connection asks for the position, after it has got the node's advisory lock, which the
                         session before held to its end
Positions of a ring that no row or sum arrives for (a failed machine, a bad disk) are counted, each once: whatever a
file brings, its positions are loaded afterwards. Across a jump (record_ring.py) nothing is known, and nothing counted.

Rules: one loader a node, for the session's lock is refused to a second one, as a copied data directory has. No Python
a row. Days get their partition, and names of assets their number, before the transaction: both are true whether it
commits or not.
"""

import datetime
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.errors import LedgerTakenError, UnloadableError
from trinity.limits import ASSET_NAME_BYTES_MAX
from trinity.memory.record_ring import JUMP_MIN, POSITION_BITS
from trinity.memory.usage_ring import RECORD_DTYPE
from trinity.store import partitions
from trinity.store.connect import AnyConnection
from trinity.store.queries import load, load_for
from workers.ledger.block import RecordBlock, read_blocks, records_in_place
from workers.ledger.kind import Groups
from workers.ledger.refusals import Condenser
from workers.ledger.rows import refusal_rows, sum_rows, usage_rows
from workers.ledger.sums import NS_PER_MINUTE, UNITS_MINUTES, Span, decode_sums
from workers.ledger.unit import Unit, read_segment
from workers.ledger.usage_sums import USAGE, group_records, merge_groups

# The tables of the sums, by the minutes of their unit.
_SUM_TABLES = dict(zip(UNITS_MINUTES, ("usage_minute", "usage_hour", "usage_day"), strict=True))
# The catalog has at most 256 assets; names beyond this come from nowhere and would use up the numbers.
_ASSETS_MAX = 4096
_MINUTES_A_DAY = 1440
# usage_batches.lost, an integer.
_LOST_MAX = 2**31 - 1


class Loaded(NamedTuple):
    """What one file brought: records, those of which there is only the sum, those that are missing."""

    records: int
    lost_detail: int
    missing: int


class Ledger:
    """The ledger's tables on one connection (autocommit), for one node. LedgerTakenError: another one has them."""

    def __init__(self, connection: AnyConnection, node: uuid.UUID, name: str) -> None:
        self._connection = connection
        connection.execute(load("ledger.prepare"))
        connection.execute(load("ledger.create_sums"))
        self.node_id = _node_id(connection, node, name)
        if connection.execute(load("ledger.lock"), [self.node_id]).fetchone() != (True,):
            raise LedgerTakenError(str(node))
        self._asset_ids: dict[bytes, int] = {}
        self._days: set[datetime.date] = set()
        self._condenser = Condenser()

    def positions(self, rings: Sequence[int]) -> Mapping[int, int]:
        """The position behind the newest loaded record of each ring that has one."""
        found = self._connection.execute(load("ledger.loaded"), {"rings": rings, "node_id": self.node_id})
        return dict(found.fetchall())

    def load(self, unit: Unit) -> Loaded:
        """Load one file; when it returns, the file may be removed. Raises psycopg.Error, UnloadableError."""
        return self._load_sums(unit) if unit.is_sum else self._load_segment(unit)

    def skip(self, unit: Unit) -> int:
        """Give up a file that cannot be loaded: its positions count as loaded; returns their number."""
        new = _new_spans(unit.spans.values(), self.positions(sorted(unit.spans)))
        with self._connection.transaction():
            for span in new:
                self._add_batch(span, rows=0, lost=0)
        return _missing(new, 0)

    def _load_segment(self, unit: Unit) -> Loaded:
        blocks = list(read_blocks(USAGE, read_segment(unit.path)))
        loaded = self.positions(sorted(unit.spans))
        new = _new_spans(unit.spans.values(), loaded)
        records = np.concatenate([_not_loaded(block, loaded) for block in blocks] or [np.zeros(0, dtype=RECORD_DTYPE)])
        self._ensure(_days_of(records["time_ns"] // NS_PER_MINUTE))
        groups, number = group_records(records)
        ids = self._ids_of(groups)
        condensed = self._condenser.condense(records)
        detail = records if condensed.sampled == 0 else records[condensed.rows]
        rings = int(max(unit.spans, default=0)) + 1
        arrived, rows = _by_ring(records, rings), _by_ring(detail, rings)
        with self._connection.transaction():
            if len(records):
                asset_ids = ids[number][condensed.rows]
                self._copy("ledger.copy_usage", usage_rows(detail, asset_ids, condensed.weights, self.node_id))
                self._add_sums(groups, ids)
            if len(condensed.groups):
                self._copy("ledger.copy_refusals", refusal_rows(condensed.groups))
                self._connection.execute(load("ledger.add_refusals"), [self.node_id])
            for span in new:
                self._add_batch(span, int(rows[span.ring]), 0, int(arrived[span.ring] - rows[span.ring]))
        self._condenser.commit(condensed)
        return Loaded(len(records), 0, _missing(new, len(records)))

    def _load_sums(self, unit: Unit) -> Loaded:
        loaded = self.positions(sorted(unit.spans))
        new = _new_spans(unit.spans.values(), loaded)
        if not new:
            return Loaded(0, 0, 0)
        if any(loaded.get(span.ring, 0) > span.first for span in unit.spans.values()):
            raise UnloadableError(str(unit.path), "a part of these sums is in the database already")
        sums = decode_sums(USAGE, unit.path.read_bytes())
        if sums is None:
            raise UnloadableError(str(unit.path), "it is damaged")
        self._ensure(_days_of(sums.groups["minute"]))
        ids = self._ids_of(sums.groups)
        with self._connection.transaction():
            if len(sums.groups):
                self._add_sums(sums.groups, ids)
            for span, lost in _shared_out(sums.requests, new):
                self._add_batch(span, rows=0, lost=min(lost, _LOST_MAX))
        return Loaded(0, sums.requests, _missing(new, sums.requests))

    def _add_sums(self, groups: Groups, ids: NDArray[np.int64]) -> None:
        # Names without a number are one asset, "none": their groups become one.
        groups = groups.copy()
        groups["asset"][ids == 0] = b""
        minutes = merge_groups([groups])
        parts = [(unit, merge_groups([minutes], unit)) for unit in UNITS_MINUTES]
        self._copy("ledger.copy_sums", sum_rows([(unit, part, self._ids_of(part)) for unit, part in parts]))
        for unit, table in _SUM_TABLES.items():
            values = {"node_id": self.node_id, "unit_minutes": unit}
            self._connection.execute(load_for("ledger.add_sums", table), values)

    def _add_batch(self, span: Span, rows: int, lost: int, sampled: int = 0) -> None:
        values = {"node_id": self.node_id, "ring": span.ring, "first": span.first, "end": span.end}
        self._connection.execute(load("ledger.add_batch"), values | {"rows": rows, "lost": lost, "sampled": sampled})

    def _copy(self, name: str, pieces: Any) -> None:
        with self._connection.cursor() as cursor, cursor.copy(load(name)) as copy:
            for piece in pieces:
                copy.write(piece)

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


def _new_spans(spans: Iterable[Span], loaded: Mapping[int, int]) -> list[Span]:
    """What a file adds to the loaded positions, from there on; a narrow gap before it is a part of it."""
    new = []
    for span in spans:
        first = loaded.get(span.ring, span.first)
        if span.end > first:
            new.append(span if span.first - first >= JUMP_MIN else span._replace(first=first))
    return new


def _not_loaded(block: RecordBlock, loaded: Mapping[int, int]) -> NDArray[np.void]:
    """The good records of a block behind what is loaded; nearly always all of it."""
    skip = min(max(loaded.get(block.ring, 0) - block.first, 0), len(block.records))
    return records_in_place(USAGE, block.ring, block.first + skip, block.records[skip:])


def _by_ring(records: NDArray[np.void], rings: int) -> NDArray[np.int64]:
    """How many records came from each ring."""
    return np.bincount((records["request_id"] >> np.uint64(POSITION_BITS)).astype(np.int64), minlength=rings)


def _shared_out(requests: int, spans: Iterable[Span]) -> Iterator[tuple[Span, int]]:
    """How many of the requests of some sums stand in each of their spans: all, and none twice.

    A span that several starts of a node wrote has jumps in it, so it is wider than what it stands for; the narrow ones
    come first.
    """
    for span in sorted(spans, key=lambda span: span.end - span.first):
        share = min(span.end - span.first, requests)
        requests -= share
        yield span, share


def _missing(spans: Iterable[Span], arrived: int) -> int:
    """Positions that nothing arrived for; more than a jump's is no loss, but a jump."""
    missing = sum(span.end - span.first for span in spans) - arrived
    return missing if 0 < missing < JUMP_MIN else 0
