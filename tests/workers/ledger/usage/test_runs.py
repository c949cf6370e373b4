"""workers/ledger/usage/runs.py: its bytes, read by the format's documentation, and what PostgreSQL packs itself."""

import datetime
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.workers.ledger.ledger_fixture import EVENING_NS, make_records
from tests.workers.ledger.test_rows import fields_of
from trinity.clock import NS_PER_SECOND
from trinity.store import partitions
from trinity.store.connect import AnyConnection, connect
from trinity.store.queries import load
from workers.ledger.usage import runs as module
from workers.ledger.usage.runs import ID_BITS, RUN_RECORDS_MAX, usage_runs
from workers.ledger.usage.usage_sums import group_records, number_by_caller

Row = tuple[Any, ...]


def _packed(records: NDArray[np.void], asset_ids: Any = 0, weights: Any = 1, node_id: int = 5) -> bytes:
    ids, weight = (np.broadcast_to(np.asarray(value, dtype=np.int64), len(records)) for value in (asset_ids, weights))
    groups, number = group_records(records)
    alike = number_by_caller(groups)[number]
    return b"".join(usage_runs(records, alike, ids, weight, node_id))


def _unpacked(data: bytes) -> list[list[Row]]:
    """The requests of each run: time in us, id, address, key, latency, node, asset, assets, status and so on."""
    runs = []
    for fields in fields_of(data):
        second, base, key, node, count, protocol, status, code, weight = (
            struct.unpack({8: ">q", 4: ">i", 2: ">h"}[len(field)], field)[0] for field in fields[:9]
        )
        length = struct.unpack_from(">5i", fields[9])[3]
        assert struct.unpack_from(">5i", fields[9]) == (1, 0, 20, length, 1)
        elements = [struct.unpack_from(">iQ", fields[9], 20 + 12 * number) for number in range(length)]
        assert {size for size, _ in elements} == {8}
        words = [word for _, word in elements]
        addresses = words[2 * count :]
        assert len(addresses) in (2, 2 * count)
        run = []
        for first, last, place in zip(words[: 2 * count : 2], words[1 : 2 * count : 2], range(count), strict=True):
            at = 2 * place if len(addresses) > 2 else 0
            run.append(
                (second + 946_684_800_000_000 + (first >> 32), base + (last >> 38), tuple(addresses[at : at + 2]), key,
                 first & 0xFFFFFFFF, node, last >> 23 & 0x7FFF, last >> 8 & 0x7FFF, status, protocol, last & 0xFF, code,
                 weight)
            )  # fmt: skip
        runs.append(run)
    return runs


def _expected(record: np.void, asset_id: int, weight: int) -> Row:
    address = struct.unpack(">2Q", bytes(record["address"]))
    time_us, latency_ns = int(record["time_ns"]) // 1000, int(record["latency_ns"])
    names = ("assets", "status", "protocol", "source", "code")
    return (
        time_us, int(record["request_id"]), address, int(record["key_id"]), latency_ns, 5, asset_id,
        *(int(record[name]) for name in names), weight,
    )  # fmt: skip


@given(st.integers(0, 400), st.integers(1, 3), st.integers(0, 9), st.booleans())
def test_every_request_is_in_one_run_with_all_that_it_says(count: int, keys: int, seed: int, many: bool) -> None:
    """Whatever shares a run: nothing is lost, nothing added, nothing changed."""
    records = make_records(count, ring=seed, first=2**ID_BITS - 50, seed=seed, keys=keys)
    if many:
        records["address"] = np.random.default_rng(seed).integers(0, 256, (count, 16))
    ids, weights = np.arange(count) % 7, 1 + np.arange(count) % 2
    runs = _unpacked(_packed(records, ids, weights))
    expected = [_expected(*row) for row in zip(records, ids.tolist(), weights.tolist(), strict=True)]
    assert sorted(row for run in runs for row in run) == sorted(expected)


def test_a_run_ends_with_its_second_its_ids_and_its_length() -> None:
    """Alike requests of two seconds and two bases, 600 each, are runs of at most 240 in the order of their seconds."""
    records = make_records(1200, first=2**ID_BITS - 600, keys=1)
    for name in ("asset", "status", "protocol", "source", "code", "key_id"):
        records[name] = records[name][0]
    records["time_ns"] = EVENING_NS // NS_PER_SECOND * NS_PER_SECOND + np.arange(1200) // 600 * NS_PER_SECOND
    runs = _unpacked(_packed(records))
    assert [len(run) for run in runs] == [240, 240, 120, 240, 240, 120]
    assert [run[0][1] for run in runs] == [record["request_id"] for record in records[[0, 240, 480, 600, 840, 1080]]]
    assert [run[0][0] for run in runs] == sorted(run[0][0] for run in runs)


def test_what_does_not_fit_is_clipped() -> None:
    """The batch is loaded whatever a record says."""
    records = make_records(1)
    records["key_id"], records["assets"], records["status"] = 2**32 - 1, 65535, 65535
    records["latency_ns"], records["source"] = 2**32 - 1, 255
    ((row,),) = _unpacked(_packed(records, weights=2**40))
    assert (row[3], row[7], row[8], row[12]) == (2**31 - 1, 2**15 - 1, 2**15 - 1, 2**15 - 1)
    assert (row[4], row[10]) == (2**32 - 1, 255)


def test_pieces_are_cut_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of several pieces is the same stream as one of a single piece."""
    records = make_records(300)
    whole = _packed(records)
    monkeypatch.setattr(module, "_RECORDS_A_PIECE", 7)
    assert _packed(records) == whole


@pytest.mark.parametrize("many", [False, True])
def test_the_view_shows_what_was_packed_by_either_side(database_url: str, many: bool) -> None:
    """By the loader and by PostgreSQL: the same rows, addresses of both families; the longest runs fit into a page."""
    records = make_records(3 * RUN_RECORDS_MAX, first=2**40, keys=1)
    records["status"], records["code"], records["protocol"] = 200, 0, 0
    records["time_ns"] = EVENING_NS // NS_PER_SECOND * NS_PER_SECOND + np.arange(len(records)) * 7919
    if many:
        records["address"] = np.random.default_rng(1).integers(0, 256, (len(records), 16))
        records["address"][::2, :10], records["address"][::2, 10:12] = 0, 255
    with connect(database_url, "tests", autocommit=True) as connection:
        _copy(connection, records)
        loaded = _log(connection)
        assert len(loaded) == len(records)
        connection.execute("CREATE TABLE single AS SELECT * FROM usage_log")
        connection.execute("TRUNCATE usage_runs")
        connection.execute("SELECT pack_usage('single')")
        assert _log(connection) == loaded
        addresses = connection.execute("SELECT inet_send(address) FROM usage_log ORDER BY request_id").fetchall()
    assert [address[-16:] for (address,) in addresses] == [bytes(record["address"]) for record in records]


def _copy(connection: AnyConnection, records: NDArray[np.void]) -> None:
    partitions.ensure_days(connection, [datetime.datetime.fromtimestamp(EVENING_NS / 1e9, datetime.UTC).date()])
    with connection.cursor() as cursor, cursor.copy(load("ledger.copy_usage")) as copy:
        copy.write(_packed(records))


def _log(connection: AnyConnection) -> list[Row]:
    return connection.execute("SELECT * FROM usage_log ORDER BY request_id").fetchall()
