"""A file of the spool -> the database: rows, exact sums and the loaded position in one transaction, of any kind.

Exactly once, whatever dies when:
    before the commit    nothing of it is there; the file is loaded again
    after the commit     the position says so; the file is skipped and removed
    commit unknown       the next connection asks for the position, after it has got the node's advisory lock, which the
                         session before held to its end
Positions of a ring that no row or sum arrives for (a failed machine, a bad disk) are counted, each once: whatever a
file brings, its positions are loaded afterwards. Across a jump (record_ring.py) nothing is known, and nothing counted.

Rules: one loader a node and kind, for the session's lock is refused to a second one, as a copied data directory has.
What a kind's tables are, the kind knows alone (kind.py).
"""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trinity.clock import NS_PER_SECOND
from trinity.errors import LedgerTakenError, UnloadableError
from trinity.memory.record_ring import JUMP_MIN, POSITION_BITS
from trinity.store.connect import AnyConnection
from trinity.store.queries import load, load_for
from workers.ledger.disk.block import RecordBlock, read_blocks, records_in_place
from workers.ledger.disk.unit import Unit, read_segment
from workers.ledger.kind import RecordKind, Records
from workers.ledger.sums import Span, decode_sums

# `lost` of the batches, an integer.
_LOST_MAX = 2**31 - 1


class Loaded(NamedTuple):
    """What one file brought: records, those of which there is only the sum, those that are missing."""

    records: int
    lost_detail: int
    missing: int


class Times(NamedTuple):
    """Of the oldest and the newest of some rows; none of no rows."""

    oldest: datetime | None
    newest: datetime | None


NO_TIMES = Times(None, None)


class Ledger:
    """A kind's tables on one connection (autocommit), for one node. LedgerTakenError: another one has them."""

    def __init__(self, connection: AnyConnection, kind: RecordKind, node: uuid.UUID, name: str) -> None:
        self._connection, self._kind = connection, kind
        connection.execute(load("session.prepare"))
        self.node_id = _node_id(connection, node, name)
        values = {"kind": kind.lock, "node_id": self.node_id}
        if connection.execute(load("ledger.lock"), values).fetchone() != (True,):
            raise LedgerTakenError(str(node))
        self._tables = kind.open_tables(connection, self.node_id)

    def positions(self, rings: Sequence[int]) -> Mapping[int, int]:
        """The position behind the newest loaded record of each ring that has one."""
        statement = load_for("ledger.loaded", self._kind.batches)
        return dict(self._connection.execute(statement, {"rings": rings, "node_id": self.node_id}).fetchall())

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
        loaded = self.positions(sorted(unit.spans))
        new = _new_spans(unit.spans.values(), loaded)
        records = self._records_of(unit, loaded)
        change = self._tables.of_records(records)
        rings = int(max(unit.spans, default=0)) + 1
        arrived, rows = self._by_ring(records, rings), self._by_ring(change.with_row, rings)
        times = _times_of(change.with_row)
        with self._connection.transaction():
            change.write()
            for span in new:
                self._add_batch(span, int(rows[span.ring]), 0, int(arrived[span.ring] - rows[span.ring]), times)
        change.committed()
        return Loaded(len(records), 0, _missing(new, len(records)))

    def _load_sums(self, unit: Unit) -> Loaded:
        loaded = self.positions(sorted(unit.spans))
        new = _new_spans(unit.spans.values(), loaded)
        if not new:
            return Loaded(0, 0, 0)
        if any(loaded.get(span.ring, 0) > span.first for span in unit.spans.values()):
            raise UnloadableError(str(unit.path), "a part of these sums is in the database already")
        sums = decode_sums(self._kind, unit.path.read_bytes())
        if sums is None:
            raise UnloadableError(str(unit.path), "it is damaged")
        change = self._tables.of_sums(sums.groups)
        with self._connection.transaction():
            change.write()
            for span, lost in _shared_out(sums.requests, new):
                self._add_batch(span, rows=0, lost=min(lost, _LOST_MAX))
        change.committed()
        return Loaded(0, sums.requests, _missing(new, sums.requests))

    def _add_batch(self, span: Span, rows: int, lost: int, sampled: int = 0, times: Times = NO_TIMES) -> None:
        values = {"node_id": self.node_id, "ring": span.ring, "first": span.first, "end": span.end}
        statement = load_for("ledger.add_batch", self._kind.batches)
        counts = {"rows": rows, "lost": lost, "sampled": sampled}
        self._connection.execute(statement, values | counts | times._asdict())

    def _records_of(self, unit: Unit, loaded: Mapping[int, int]) -> Records:
        """All good records of a segment behind what is loaded; the file's own bytes are free afterwards."""
        blocks = read_blocks(self._kind, read_segment(unit.path))
        none = np.zeros(0, dtype=self._kind.record_dtype)
        return np.concatenate([none, *(self._not_loaded(block, loaded) for block in blocks)])

    def _not_loaded(self, block: RecordBlock, loaded: Mapping[int, int]) -> Records:
        """The good records of a block behind what is loaded; nearly always all of it."""
        skip = min(max(loaded.get(block.ring, 0) - block.first, 0), len(block.records))
        return records_in_place(self._kind, block.ring, block.first + skip, block.records[skip:])

    def _by_ring(self, records: Records, rings: int) -> NDArray[np.int64]:
        """How many records came from each ring."""
        return np.bincount((self._kind.ids_of(records) >> np.uint64(POSITION_BITS)).astype(np.int64), minlength=rings)


def _node_id(connection: AnyConnection, node: uuid.UUID, name: str) -> int:
    find, values = load("ledger.find_node"), [node]
    row = connection.execute(find, values).fetchone()
    if row is None:
        connection.execute(load("ledger.add_node"), [node, name])
        row = connection.execute(find, values).fetchone()
    assert row is not None
    connection.execute(load("ledger.rename_node"), {"id": row[0], "name": name})
    return int(row[0])


def _times_of(records: Records) -> Times:
    """To the second or better: the sync job asks for whole ones."""
    if len(records) == 0:
        return NO_TIMES
    ends = int(records["time_ns"].min()), int(records["time_ns"].max())
    return Times(*(datetime.fromtimestamp(time_ns // NS_PER_SECOND, UTC) for time_ns in ends))


def _new_spans(spans: Iterable[Span], loaded: Mapping[int, int]) -> list[Span]:
    """What a file adds to the loaded positions, from there on; a narrow gap before it is a part of it."""
    new = []
    for span in spans:
        first = loaded.get(span.ring, span.first)
        if span.end > first:
            new.append(span if span.first - first >= JUMP_MIN else span._replace(first=first))
    return new


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
