"""workers/ledger/kind.py: a second kind of records goes the way that usage goes, from the ring to the database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.ledger.hook_kind import (
    HOOKS,
    HookChange,
    call_hooks,
    make_hook_ring,
    make_hooks,
    make_tables,
)
from tests.workers.ledger.ledger_fixture import LOG, NODE, in_order, make_block, make_records, no_beat, one
from trinity.clock import SystemClock
from trinity.store.connect import AnyConnection, connect
from workers.ledger.disk.block import header_of, read_blocks
from workers.ledger.disk.spool import Spool
from workers.ledger.disk.unit import read_segment
from workers.ledger.drain import Drain
from workers.ledger.kind import RecordKind
from workers.ledger.ledger import Ledger, Loaded
from workers.ledger.sums import Span, Sums, decode_sums, encode_sums, merge_sums
from workers.ledger.usage.usage_tables import USAGE

MAKERS: dict[str, tuple[RecordKind, Any]] = {
    "usage": (USAGE, make_records),
    "hooks": (HOOKS, make_hooks),
}
BIG = 1 << 30


@pytest.mark.parametrize("name", MAKERS)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=4), at=st.integers(0, 1 << 16))
def test_blocks_of_any_kind_survive_their_bytes_and_a_torn_tail(name: str, counts: list[int], at: int) -> None:
    """Exactly the records that are whole come out, whatever their size."""
    kind, make = MAKERS[name]
    data, every, first, ends = b"", [], 1000, []
    for count in counts:
        records = make(count, 3, first)
        data += header_of(3, first, records)
        ends += [len(data) + records.itemsize * (i + 1) for i in range(count)]
        data, first = data + records.tobytes(), first + count
        every.append(records)
    cut = min(at, len(data))
    blocks = list(read_blocks(kind, np.frombuffer(data[:cut], dtype=np.uint8)))
    found = b"".join(block.records.tobytes() for block in blocks)
    whole = sum(end <= cut for end in ends)
    assert found == np.concatenate(every)[:whole].tobytes()


@pytest.mark.parametrize("name", MAKERS)
@given(count=st.integers(0, 200), seed=st.integers(0, 1000), data=st.data())
def test_sums_of_any_kind_survive_their_bytes_and_no_damage(
    name: str, count: int, seed: int, data: st.DataObject
) -> None:
    """Read back as they were; with a changed byte they are none."""
    kind, make = MAKERS[name]
    sums = Sums((Span(2, 10, 10 + count),), kind.sum_records(make(count, seed=seed)))
    whole = encode_sums(sums)
    decoded = decode_sums(kind, whole)
    assert decoded is not None
    assert (decoded.spans, decoded.groups.tobytes()) == (sums.spans, sums.groups.tobytes())
    changed = bytearray(whole)
    changed[data.draw(st.integers(0, len(whole) - 1))] ^= data.draw(st.integers(1, 255))
    assert decode_sums(kind, bytes(changed)) is None


@pytest.mark.parametrize("name", MAKERS)
@given(cut=st.integers(0, 150), unit_minutes=st.sampled_from([1, 60, 1440]))
def test_sums_of_parts_are_the_sums_of_all(name: str, cut: int, unit_minutes: int) -> None:
    """For minutes, hours and days of any kind."""
    kind, make = MAKERS[name]
    records = make(150)
    parts = [Sums((Span(0, a, b),), kind.sum_records(records[a:b])) for a, b in ((0, cut), (cut, 150))]
    merged = merge_sums(kind, *parts, unit_minutes)
    expected = kind.merge_groups([kind.sum_records(records)], unit_minutes)
    assert (merged.spans, in_order(merged.groups)) == ((Span(0, 0, 150),), in_order(expected))


def test_hooks_go_from_the_ring_to_the_disk_and_are_found_again(tmp_path: Path) -> None:
    """Spooled, taken over by the next life of the process, and read back as they were appended."""
    ring = make_hook_ring(tmp_path)
    spool = Spool(HOOKS, tmp_path / "spool", BIG)
    drain = Drain([ring], spool, tmp_path / "reserve", make_block(), LOG, no_beat, SystemClock())
    appended = []
    for seed in range(3):
        appended.append(call_hooks(ring, 700, seed))
        drain.turn()
    assert drain.has_taken_all
    again = Spool(HOOKS, tmp_path / "spool", BIG)
    assert again.damaged == []
    (unit,) = again._units
    found = [block.records for block in read_blocks(HOOKS, read_segment(unit.path))]
    assert np.concatenate(found).tobytes() == np.concatenate(appended).tobytes()


def test_hooks_keep_their_sums_while_the_disk_refuses_and_when_the_spool_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First into the reserve, then over the spool's bound: no detail is left, and the sums are those of all records."""
    ring = make_hook_ring(tmp_path)
    spool = Spool(HOOKS, tmp_path / "spool", BIG)
    drain = Drain([ring], spool, tmp_path / "reserve", make_block(), LOG, no_beat, SystemClock())

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    appended = [call_hooks(ring, 1000)]
    with monkeypatch.context() as full:
        full.setattr(spool, "append", no_room)
        full.setattr(spool, "append_sums", no_room)
        drain.turn()
    assert not drain.is_writable
    # Another life of the process finds the reserve.
    spool = Spool(HOOKS, tmp_path / "spool", BIG)
    drain = Drain([ring], spool, tmp_path / "reserve", make_block(), LOG, no_beat, SystemClock())
    appended.append(call_hooks(ring, 200, 2))
    drain.turn()
    assert drain.has_taken_all
    spool.close()
    spool._bytes_max = 1
    while spool.give_up_detail():
        pass
    sums = [decode_sums(HOOKS, unit.path.read_bytes()) for unit in spool._units]
    groups = [part.groups for part in sums if part is not None]
    assert len(groups) == len(sums)
    expected = HOOKS.sum_records(np.concatenate(appended))
    merged = HOOKS.merge_groups(groups, 1440)
    assert in_order(merged) == in_order(HOOKS.merge_groups([expected], 1440))
    assert spool.records == 1200


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    """A database with the tables of deliveries."""
    with connect(database_url, "tests", autocommit=True) as opened:
        make_tables(opened)
        yield opened


def test_hooks_are_in_their_tables_once_whatever_fails(
    connection: AnyConnection, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that fails leaves nothing, one whose word was lost is not repeated; usage is loaded beside it."""
    ring = make_hook_ring(tmp_path)
    spool = Spool(HOOKS, tmp_path / "spool", BIG)
    drain = Drain([ring], spool, tmp_path / "reserve", make_block(), LOG, no_beat, SystemClock())
    appended = call_hooks(ring, 300)
    drain.turn()
    ledger = Ledger(connection, HOOKS, NODE, "n")
    unit = spool.take()
    assert unit is not None
    write = HookChange.write

    def die(change: HookChange) -> None:
        write(change)
        raise psycopg.OperationalError("the connection is lost")

    with monkeypatch.context() as fatal:
        fatal.setattr(HookChange, "write", die)
        with pytest.raises(psycopg.OperationalError):
            ledger.load(unit)
    assert (one(connection, "SELECT count(*) FROM hook_log"), dict(ledger.positions([0]))) == (0, {})
    assert ledger.load(unit) == Loaded(300, 0, 0)
    assert ledger.load(unit) == Loaded(0, 0, 0)
    assert one(connection, "SELECT sum(call_id) FROM hook_log") == int(appended["call_id"].sum())
    with connect(database_url, "tests", autocommit=True) as other:
        assert Ledger(other, USAGE, NODE, "n").positions([0]) == {}, "another kind, another lock, other positions"


def test_sums_of_hooks_are_added_to_those_of_rows(connection: AnyConnection, tmp_path: Path) -> None:
    """Where the detail was given up the sums are exact all the same, and the batches say how many have none."""
    spool = Spool(HOOKS, tmp_path / "spool", BIG)
    first, second = make_hooks(100), make_hooks(50, first=1100, seed=2)
    ledger = Ledger(connection, HOOKS, NODE, "n")
    for span, records in ((Span(0, 1000, 1100), first), (Span(0, 1100, 1150), second)):
        spool.append_sums(Sums((span,), HOOKS.sum_records(records)), lambda: None)
        unit = spool.take()
        assert unit is not None
        assert ledger.load(unit) == Loaded(0, len(records), 0)
        spool.remove(unit)
    expected = HOOKS.merge_groups([HOOKS.sum_records(first), HOOKS.sum_records(second)], 1)
    assert sorted(connection.execute("SELECT * FROM hook_sums").fetchall()) == sorted(expected.tolist())
    assert one(connection, "SELECT sum(lost) FROM hook_batches") == 150
