"""Every refusal is in the sums once, and neither sums nor sample grow with a flood."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.parts.service.ledger import write_segment
from benchmarks.parts.service.refusals import make_flood
from tests.workers.ledger.ledger_fixture import EVENING_NS, make_records, one
from trinity.memory.usage_ring import RECORD_DTYPE
from trinity.store.connect import AnyConnection, connect
from trinity.vocabulary import CODES
from workers.ledger.disk.spool import Spool
from workers.ledger.ledger import Ledger
from workers.ledger.usage.refusals import GROUPS_A_MINUTE, ROWS_A_SECOND, Condensed, Condenser
from workers.ledger.usage.usage_tables import USAGE

MISSING_KEY, INVALID_KEY, RATE_LIMITED = (CODES.index(code) for code in ("missing_key", "invalid_key", "rate_limited"))
# Of the largest flood that is loaded here; `python -m benchmarks refusals` loads ten million.
FLOOD = 1 << 19
KEYED = 1 << 12


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    with connect(database_url, "tests", autocommit=True) as made:
        yield made


def _refusals(count: int, seed: int = 1, networks: int = 3, codes: int = 3, seconds: int = 4) -> NDArray[np.void]:
    """Refusals without a key and, one in four, answers of keys, in any order."""
    random = np.random.default_rng(seed)
    records = make_records(count, seed=seed)
    records["time_ns"] = EVENING_NS + np.sort(random.integers(0, seconds * 10**9, count))
    records["key_id"] = np.where(random.random(count) < 0.25, 5, 0)
    records["code"] = 1 + random.integers(0, codes, count)
    records["address"][:, 12:15] = random.integers(0, networks, (count, 1)) >> np.array([16, 8, 0]) & 255
    records["address"][:, 15] = random.integers(0, 256, count)
    return records


def _condense(records: NDArray[np.void], condenser: Condenser) -> Condensed:
    condensed = condenser.condense(records)
    condenser.commit(condensed)
    return condensed


@given(
    st.integers(0, 400), st.integers(0, 2**32), st.sampled_from([1, 3, 1000]), st.integers(1, 20), st.integers(1, 90)
)
def test_everything_is_counted_once(count: int, seed: int, networks: int, codes: int, seconds: int) -> None:
    """A row or the sample stands for each record that has a key, and the sums hold each refusal that has none."""
    records = _refusals(count, seed, networks, codes, seconds)
    condensed = _condense(records, Condenser())
    refused = records["key_id"] == 0
    rows = records[condensed.rows]
    assert (condensed.weights[rows["key_id"] != 0] == 1).all()
    assert len(rows[rows["key_id"] != 0]) == count - refused.sum()
    assert (np.diff(condensed.rows) > 0).all()
    assert len(rows) + condensed.sampled == count
    assert condensed.groups["requests"].sum() == refused.sum()
    for code in np.unique(records["code"][refused]).tolist():
        of_code = condensed.groups[condensed.groups["code"] == code]
        assert of_code["requests"].sum() == (refused & (records["code"] == code)).sum()
        assert of_code["last_ns"].max() == records["time_ns"][refused & (records["code"] == code)].max()


@given(st.integers(1, 12), st.integers(0, 2**32), st.integers(1, 6))
def test_the_bounds_hold_over_many_batches(batches: int, seed: int, codes: int) -> None:
    """However a flood is cut into files, a second has its rows and a minute its groups."""
    condenser = Condenser()
    seconds: dict[int, int] = {}
    groups: dict[int, set[bytes]] = {}
    for number in range(batches):
        records = _refusals(300, seed + number, networks=100_000, codes=codes, seconds=3)
        condensed = _condense(records, condenser)
        rows = records[condensed.rows]
        for time_ns in rows["time_ns"][rows["key_id"] == 0].tolist():
            seconds[time_ns // 10**9] = seconds.get(time_ns // 10**9, 0) + 1
        for group in condensed.groups[condensed.groups["bits"] > 0]:
            groups.setdefault(int(group["minute"]), set()).add(
                group[["network", "code", "status", "protocol"]].tobytes()
            )
    assert max(seconds.values()) <= ROWS_A_SECOND
    assert all(len(found) <= GROUPS_A_MINUTE for found in groups.values())


def test_few_refusals_have_a_row_each() -> None:
    """Without a flood the log is what it always was: a row of weight 1 each."""
    records = _refusals(ROWS_A_SECOND, seconds=1)
    condensed = _condense(records, Condenser())
    assert condensed.rows.tolist() == list(range(len(records)))
    assert set(condensed.weights.tolist()) == {1}


def test_a_flood_of_one_code_hides_no_other() -> None:
    """A single refusal of another code among a hundred thousand has its row, and the weights say which is the flood."""
    records = _refusals(100_000, codes=1, seconds=1)
    records["key_id"], records["code"] = 0, MISSING_KEY
    records["code"][77_777] = INVALID_KEY
    condensed = _condense(records, Condenser())
    rows = records[condensed.rows]
    weights = {code: condensed.weights[rows["code"] == code].sum() for code in (MISSING_KEY, INVALID_KEY)}
    assert weights == {MISSING_KEY: 99_999, INVALID_KEY: 1}
    assert len(rows) == ROWS_A_SECOND


def test_the_largest_networks_keep_their_name() -> None:
    """When more networks ask than there is room for, those that ask most are told apart."""
    records = _refusals(20_000, networks=60_000, codes=1, seconds=1)
    records["key_id"], records["status"], records["protocol"] = 0, 401, 0
    records["address"][:5_000, 12:15] = 203, 0, 113
    groups = _condense(records, Condenser()).groups
    largest = groups[np.argmax(np.where(groups["bits"] > 0, groups["requests"], 0))]
    assert largest["network"].tobytes() == bytes(10) + b"\xff\xff" + bytes((203, 0, 113, 0))
    assert (largest["requests"] >= 5_000, largest["bits"]) == (True, 120)


def test_what_was_not_committed_takes_no_room() -> None:
    """A transaction that failed is tried again with the same sample."""
    records, condenser = _refusals(1000), Condenser()
    first, second = condenser.condense(records), condenser.condense(records)
    assert first.rows.tolist() == second.rows.tolist()
    assert first.groups.tobytes() == second.groups.tobytes()


def test_an_ipv6_customer_is_one_network() -> None:
    """The lower half of an IPv6 address is the customer's to choose: its /64 is counted."""
    records = _refusals(100, codes=1, seconds=1)
    records["key_id"], records["status"], records["protocol"] = 0, 401, 0
    records["address"][:, :8] = np.frombuffer(bytes.fromhex("20010db800000007"), dtype=np.uint8)
    records["address"][:, 8:] = np.random.default_rng(1).integers(0, 256, (100, 8))
    (group,) = _condense(records, Condenser()).groups
    assert (group["network"].tobytes().hex(), group["bits"], group["requests"]) == (
        "20010db8000000070000000000000000", 64, 100,
    )  # fmt: skip


def _load(connection: AnyConnection, folder: Path, batches: list[NDArray[np.void]]) -> int:
    """All batches through the spool; the refusals of which only a sample has a row."""
    folder.mkdir()
    ledger, position = Ledger(connection, USAGE, uuid.uuid4(), "n"), 1
    for records in batches:
        records["request_id"] = np.arange(position, position + len(records))
        write_segment(folder / f"{position:012}.seg", position, records)
        position += len(records)
    spool = Spool(USAGE, folder, 1 << 40)
    while (unit := spool.take()) is not None and unit.spans:
        assert ledger.load(unit).missing == 0
        spool.remove(unit)
    return int(one(connection, "SELECT sum(sampled) FROM usage_batches"))


def _bytes_of(connection: AnyConnection) -> int:
    return int(
        one(
            connection,
            "SELECT sum(pg_total_relation_size(relid)) FROM pg_stat_user_tables WHERE relname ~ %s",
            "^(usage_runs|usage_minute|usage_hour|usage_day|refusal_minute)",
        )
    )


@pytest.mark.long
def test_a_flood_of_refusals_leaves_little_and_pushes_nobody_out(connection: AnyConnection, tmp_path: Path) -> None:
    """Half a million refusals from 65,536 networks take a megabyte; every row of a key is there, every sum is exact."""
    flood = make_flood(FLOOD, KEYED, time.time_ns())
    half = len(flood) // 2
    began_at = time.process_time()
    sampled = _load(connection, tmp_path / "spool", [flood[:half], flood[half:]])
    assert time.process_time() - began_at < 60, "no Python a row"
    rows = one(connection, "SELECT count(*) FROM usage_log")
    assert one(connection, "SELECT count(*) FROM usage_log WHERE key_id = 5") == KEYED
    assert rows + sampled == len(flood)
    assert one(connection, "SELECT sum(requests) FROM usage_minute") == len(flood)
    assert one(connection, "SELECT sum(requests) FROM refusal_minute") == FLOOD
    assert one(connection, "SELECT sum(rows) FROM usage_batches") == rows
    seconds = one(connection, "SELECT count(DISTINCT date_trunc('second', time)) FROM usage_log")
    assert rows - KEYED <= seconds * ROWS_A_SECOND
    minutes = one(connection, "SELECT count(DISTINCT start) FROM refusal_minute")
    # Two batches, each with at most all of what a minute has beside the groups that have no network.
    assert one(connection, "SELECT count(*) FROM refusal_minute") <= minutes * (GROUPS_A_MINUTE + 2)
    assert _bytes_of(connection) < 3_000_000


def test_the_refusals_tell_code_network_and_last(connection: AnyConnection, tmp_path: Path) -> None:
    """What the reports say of them: how many of a code, from where, when last."""
    records = np.zeros(300, dtype=RECORD_DTYPE)
    records["time_ns"] = EVENING_NS + np.arange(300) * 1000
    records["address"] = np.frombuffer(bytes(10) + b"\xff\xff" + bytes((203, 0, 113, 9)), dtype=np.uint8)
    records["code"], records["status"] = RATE_LIMITED, 429
    _load(connection, tmp_path / "spool", [records])
    row: Any = connection.execute(
        "SELECT text(network), code, status, protocol, requests, extract(epoch FROM last) * 1000000 FROM refusal_minute"
    ).fetchone()
    assert row == ("::ffff:203.0.113.0/120", RATE_LIMITED, 429, 0, 300, (EVENING_NS + 299_000) // 1000)
    assert one(connection, "SELECT sum(weight) FROM usage_log") == 300
