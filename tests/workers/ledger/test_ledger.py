"""workers/ledger/ledger.py: against a real database."""

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

from tests.workers.ledger.ledger_fixture import (
    ASSETS,
    EVENING_NS,
    NODE,
    fill,
    make_ledger,
    make_records,
    make_ring,
    one,
    totals,
)
from trinity.errors import LedgerTakenError, UnloadableError
from trinity.memory.record_ring import JUMP_MIN
from trinity.memory.usage_ring import UsageRing
from trinity.store.connect import AnyConnection, connect
from workers.ledger.disk.spool import Spool
from workers.ledger.disk.unit import Unit
from workers.ledger.ledger import Ledger, Loaded
from workers.ledger.sums import Span, Sums
from workers.ledger.usage.usage_sums import sum_records
from workers.ledger.usage.usage_tables import USAGE


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    with connect(database_url, "tests", autocommit=True) as made:
        yield made


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(USAGE, tmp_path / "spool", 1 << 30)


def _spooled(spool: Spool, ring: UsageRing, count: int, seed: int = 1) -> np.ndarray:
    """Records that went through the ring into the spool, as they stand there."""
    assert fill(ring, make_records(count, seed=seed)) == count
    records = ring.view(ring.released).copy()
    while len(part := ring.view(ring.released)):
        spool.append(ring, part)
    return records


def _take(spool: Spool) -> Unit:
    unit = spool.take()
    assert unit is not None
    return unit


def test_a_record_arrives_with_every_field(connection: AnyConnection, spool: Spool, tmp_path: Path) -> None:
    """Time to the microsecond, address, names, numbers: what the worker wrote."""
    (record,) = _spooled(spool, make_ring(tmp_path), 1, seed=3)
    Ledger(connection, USAGE, NODE, "n").load(_take(spool))
    row = connection.execute(
        "SELECT (extract(epoch FROM time) * 1000000)::bigint, request_id, host(address), masklen(address), key_id, "
        "latency_ns, coalesce(name, ''), assets, status, protocol, source, code "
        "FROM usage_log LEFT JOIN assets ON id = asset_id"
    ).fetchone()
    numbers = [int(record[name]) for name in ("assets", "status", "protocol", "source", "code")]
    assert row == (
        int(record["time_ns"]) // 1000,
        int(record["request_id"]),
        "::ffff:127.0.0.1",
        128,
        int(record["key_id"]),
        int(record["latency_ns"]),
        record["asset"].decode(),
        *numbers,
    )


def test_the_sums_are_those_of_the_rows(connection: AnyConnection, spool: Spool, tmp_path: Path) -> None:
    """For minutes, hours and days, over several batches that fall into the same ones."""
    ring, ledger = make_ring(tmp_path), Ledger(connection, USAGE, NODE, "n")
    for seed in range(3):
        _spooled(spool, ring, 800, seed)
        unit = _take(spool)
        assert ledger.load(unit) == Loaded(800, 0, 0)
        spool.remove(unit)
    for table, unit_name in (("usage_minute", "minute"), ("usage_hour", "hour"), ("usage_day", "day")):
        wrong = one(
            connection,
            f"""WITH expected AS (
                SELECT date_trunc('{unit_name}', time), key_id, asset_id, protocol, status, node_id, count(*),
                       sum(assets), sum(latency_ns), count(*) FILTER (WHERE latency_ns <= 1000),
                       count(*) FILTER (WHERE latency_ns > 100000000)
                FROM usage_log GROUP BY 1, 2, 3, 4, 5, 6
            ), kept AS (
                SELECT start, key_id, asset_id, protocol, status, node_id, requests, lookups, latency_sum_ns,
                       latency_buckets[1], latency_buckets[15] FROM {table}
            )
            SELECT count(*) FROM (
                (TABLE expected EXCEPT TABLE kept) UNION ALL (TABLE kept EXCEPT TABLE expected)) AS difference""",
        )
        assert wrong == 0, table
        assert one(connection, f"SELECT sum(requests) FROM {table}") == 2400
    assert one(connection, "SELECT count(*) FROM usage_day") > 1
    buckets = "SELECT count(*) FROM usage_minute WHERE requests <> (SELECT sum(n) FROM unnest(latency_buckets) AS n)"
    assert one(connection, buckets) == 0


def test_a_file_that_is_loaded_again_changes_nothing(database_url: str, spool: Spool, tmp_path: Path) -> None:
    """Killed between commit and removal: the next flusher sees the position and skips it."""
    ring = make_ring(tmp_path)
    _spooled(spool, ring, 500)
    unit = _take(spool)
    for expected in (500, 0, 0):
        with connect(database_url, "tests", autocommit=True) as connection:
            assert make_ledger(connection).load(unit) == Loaded(expected, 0, 0)
            assert set(totals(connection).values()) == {500}


def test_a_file_of_which_a_part_is_loaded_brings_the_rest(
    connection: AnyConnection, spool: Spool, tmp_path: Path
) -> None:
    """A machine that failed may have forgotten what it had released: the position in the database decides."""
    ring = make_ring(tmp_path)
    start = ring.released
    ledger = Ledger(connection, USAGE, NODE, "n")
    _spooled(spool, ring, 300)
    ledger.load(_take(spool))
    ring.words[5] = np.uint64(start + 200)  # released, as an old page of the file has it
    again = Spool(USAGE, tmp_path / "again", 1 << 30)
    _spooled(again, ring, 100, seed=2)
    assert ledger.load(_take(again)) == Loaded(100, 0, 0)
    assert set(totals(connection).values()) == {400}


def test_sums_whose_detail_was_given_up_are_loaded_once(
    connection: AnyConnection, spool: Spool, tmp_path: Path
) -> None:
    """They count in the sums, not in the rows, and the batch says how many records have no detail."""
    records = make_records(70)
    spool.append_sums(Sums((Span(0, 10, 60), Span(1, 5, 25)), sum_records(records)), lambda: None)
    ledger = Ledger(connection, USAGE, NODE, "n")
    unit = _take(spool)
    assert ledger.load(unit) == Loaded(0, 70, 0)
    assert ledger.load(unit) == Loaded(0, 0, 0)
    found = totals(connection)
    assert (found["rows"], found["usage_minute"], found["usage_day"]) == (0, 70, 70)
    assert one(connection, "SELECT sum(lost) FROM usage_batches") == 70


def test_sums_of_several_starts_say_how_many_they_stand_for(
    connection: AnyConnection, spool: Spool, tmp_path: Path
) -> None:
    """A span over a jump of its ring is wider than its records; the batches say the records."""
    spans = Span(0, 10, 2 * JUMP_MIN + 40), Span(1, 5, 25)
    spool.append_sums(Sums(spans, sum_records(make_records(50))), lambda: None)
    assert Ledger(connection, USAGE, NODE, "n").load(_take(spool)) == Loaded(0, 50, 0)
    assert connection.execute("SELECT ring, lost FROM usage_batches ORDER BY ring").fetchall() == [(0, 30), (1, 20)]


def test_missing_positions_are_counted(connection: AnyConnection, spool: Spool, tmp_path: Path) -> None:
    """A gap before a batch is a loss and is said; a ring that was made anew is none."""
    ledger = Ledger(connection, USAGE, NODE, "n")
    for first, end, missing in ((100, 110, 0), (115, 120, 5), ((1 << 24) * 9, (1 << 24) * 9 + 3, 0)):
        spool.append_sums(Sums((Span(0, first, end),), sum_records(make_records(end - first))), lambda: None)
        unit = _take(spool)
        assert ledger.load(unit).missing == missing
        spool.remove(unit)


def test_positions_that_nothing_arrives_for_are_counted_once_wherever_they_are(
    connection: AnyConnection, spool: Spool, tmp_path: Path
) -> None:
    """Within a segment, at its border, at its end, in a file that is gone: each with the file that passes them."""
    ring, ledger = make_ring(tmp_path), Ledger(connection, USAGE, NODE, "n")
    found = []
    for damaged in ([], [0, 5], [9], range(10), [0]):
        assert fill(ring, make_records(10)) == 10
        ring.view(ring.released)["request_id"][list(damaged)] = 1 << 40
        spool.append(ring, ring.view(ring.released))
        unit = _take(spool)
        found.append(ledger.load(unit))
        assert ledger.load(unit) == Loaded(0, 0, 0)
        spool.remove(unit)
    assert found == [Loaded(10, 0, 0), Loaded(8, 0, 2), Loaded(9, 0, 1), Loaded(0, 0, 10), Loaded(9, 0, 1)]
    _spooled(spool, ring, 7)
    spool.remove(_take(spool))
    _spooled(spool, ring, 5)
    assert ledger.load(_take(spool)) == Loaded(5, 0, 7)
    assert set(totals(connection).values()) == {41}
    assert one(connection, "SELECT sum(rows) FROM usage_batches") == 41


def test_a_ring_that_moved_on_lost_nothing_by_it(connection: AnyConnection, spool: Spool, tmp_path: Path) -> None:
    """The jump is no gap."""
    ring, ledger = make_ring(tmp_path), Ledger(connection, USAGE, NODE, "n")
    for _ in range(3):
        _spooled(spool, ring, 10)
        unit = _take(spool)
        assert ledger.load(unit) == Loaded(10, 0, 0)
        spool.remove(unit)
        ring.move_on(0)
    assert ledger.positions([0, 1]) == {0: unit.spans[0].end}


def test_sums_of_which_a_part_is_loaded_are_never_counted_twice(
    connection: AnyConnection, spool: Spool, tmp_path: Path
) -> None:
    """Of one ring of two, or half of a ring: nobody can take the sums apart; skipped, they are in nobody's way."""
    ledger = Ledger(connection, USAGE, NODE, "n")
    for first, second in ((Span(0, 10, 20), Span(1, 10, 20)), (Span(0, 30, 40), Span(1, 20, 30))):
        spool.append_sums(Sums((first,), sum_records(make_records(10))), lambda: None)
        unit = _take(spool)
        ledger.load(unit)
        spool.remove(unit)
        spool.append_sums(Sums((first, second), sum_records(make_records(20))), lambda: None)
        unit = _take(spool)
        with pytest.raises(UnloadableError, match="a part of these sums"):
            ledger.load(unit)
        assert ledger.skip(unit) == 10
        assert ledger.load(unit) == Loaded(0, 0, 0)
        spool.remove(unit)
    assert one(connection, "SELECT sum(requests) FROM usage_day") == 20


def test_damaged_sums_are_not_loaded(connection: AnyConnection, spool: Spool, tmp_path: Path) -> None:
    """Their head says which positions are skipped."""
    spool.append_sums(Sums((Span(0, 10, 20),), sum_records(make_records(10))), lambda: None)
    unit = _take(spool)
    unit.path.write_bytes(unit.path.read_bytes()[:-1])
    ledger = Ledger(connection, USAGE, NODE, "n")
    with pytest.raises(UnloadableError, match="damaged"):
        ledger.load(unit)
    assert ledger.skip(unit) == 10
    assert ledger.skip(unit) == 0


def test_damaged_records_are_counted_and_the_rest_is_loaded(
    connection: AnyConnection, spool: Spool, tmp_path: Path
) -> None:
    """A bad disk costs what it destroyed, not the ledger."""
    ring = make_ring(tmp_path)
    for seed in range(3):
        _spooled(spool, ring, 10, seed)
    unit = _take(spool)
    data = bytearray(unit.path.read_bytes())
    data[32 + 64 * 4 + 8] ^= 0xFF  # the request id of the fifth record
    unit.path.write_bytes(data)
    assert Ledger(connection, USAGE, NODE, "n").load(unit) == Loaded(24, 0, 6)
    assert set(totals(connection).values()) == {24}


def test_names_that_cannot_be_kept_are_none(connection: AnyConnection, spool: Spool, tmp_path: Path) -> None:
    """Bytes that are no name become number 0, one group of them, whatever a client sent; nothing fails."""
    ring = make_ring(tmp_path)
    records = make_records(3)
    records[:] = records[0]
    records["asset"] = [b"\xff\xfe", b"A\x01B", b"BTC"]
    fill(ring, records)
    spool.append(ring, ring.view(ring.released))
    Ledger(connection, USAGE, NODE, "n").load(_take(spool))
    assert connection.execute("SELECT name FROM assets").fetchall() == [("BTC",)]
    assert one(connection, "SELECT requests FROM usage_minute WHERE asset_id = 0") == 2


def test_numbers_of_nodes_and_assets_are_not_used_up(database_url: str, spool: Spool, tmp_path: Path) -> None:
    """A restart gets the same numbers and costs none; a new name is shown."""
    ring = make_ring(tmp_path)
    for name in ("old", "new", "new"):
        _spooled(spool, ring, 50)
        with connect(database_url, "tests", autocommit=True) as connection:
            ledger = make_ledger(connection, NODE, name)
            unit = _take(spool)
            ledger.load(unit)
            spool.remove(unit)
            assert ledger.node_id == 1
    with connect(database_url, "tests", autocommit=True) as connection:
        assert one(connection, "SELECT name FROM nodes") == "new"
        assert one(connection, "SELECT max(id) FROM assets") == len(ASSETS) - 1
        connection.execute("INSERT INTO assets (name) VALUES ('LATER')")
        assert one(connection, "SELECT max(id) FROM assets") == len(ASSETS)


def test_a_clock_that_was_set_back_costs_nothing(connection: AnyConnection, spool: Spool, tmp_path: Path) -> None:
    """An hour earlier, a year earlier, 1970: each record gets the day that it says, in the order of its position."""
    ring = make_ring(tmp_path)
    records = make_records(40)
    records["time_ns"][10:] -= 3600 * 10**9
    records["time_ns"][20:] -= 365 * 86_400 * 10**9
    records["time_ns"][30:] = 5
    fill(ring, records)
    spool.append(ring, ring.view(ring.released))
    assert Ledger(connection, USAGE, NODE, "n").load(_take(spool)).records == 40
    assert set(totals(connection).values()) == {40}
    assert one(connection, "SELECT count(*) FROM usage_log WHERE time < '1970-01-02'") == 10
    assert one(connection, "SELECT extract(epoch FROM max(time)) FROM usage_log") >= EVENING_NS // 10**9


def test_a_second_loader_of_one_node_is_refused(database_url: str, spool: Spool, tmp_path: Path) -> None:
    """A predecessor that still commits, or a copied data directory: nobody loads beside it, nor reads the position."""
    ring = make_ring(tmp_path)
    _spooled(spool, ring, 100)
    unit = _take(spool)
    with connect(database_url, "second", autocommit=True) as second:
        with connect(database_url, "first", autocommit=True) as first:
            Ledger(first, USAGE, NODE, "n").load(unit)
            with pytest.raises(LedgerTakenError, match=str(NODE)):
                Ledger(second, USAGE, NODE, "n")
            assert Ledger(second, USAGE, uuid.UUID(int=8), "another").node_id != 1
        assert make_ledger(second).load(unit) == Loaded(0, 0, 0)
        assert set(totals(second).values()) == {100}


def test_two_nodes_load_into_one_database(database_url: str, tmp_path: Path) -> None:
    """At the same time, with the same positions, minutes, keys and assets: each has its own rows and sums."""

    def node(number: int) -> None:
        folder = tmp_path / str(number)
        ring, spool = make_ring(folder), Spool(USAGE, folder / "spool", 1 << 30)
        with connect(database_url, "tests", autocommit=True) as connection:
            ledger = Ledger(connection, USAGE, uuid.UUID(int=number), f"node-{number}")
            for seed in range(8):
                _spooled(spool, ring, 400, seed)
                unit: Any = spool.take()
                try:
                    ledger.load(unit)
                except psycopg.Error:  # the other made the same partition: the loader tries again as well
                    ledger.load(unit)
                spool.remove(unit)

    threads = [threading.Thread(target=node, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with connect(database_url, "tests", autocommit=True) as connection:
        assert set(totals(connection).values()) == {6400}
        assert one(connection, "SELECT count(DISTINCT node_id) FROM usage_log") == 2
