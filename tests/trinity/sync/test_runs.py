"""The ledger's packed rows, unpacked: the same as the view that PostgreSQL has of them."""

import numpy as np

from tests.trinity.sync.ledger_copy import LedgerCopy
from trinity.sync.runs import Requests, second_of, unpack
from trinity.sync.source import SyncSource

DAYS = (0, 4_000_000_000)


def test_every_request_is_what_the_view_says(ledger_copy: LedgerCopy) -> None:
    """Runs of one request and of many, of one address and of several."""
    ledger_copy.load(3000, seed=3)
    records = ledger_copy.load(10, ring=1, seed=4)
    records = records.copy()
    records["request_id"] += np.uint64(1000)
    records["address"] = np.random.default_rng(1).integers(0, 256, (10, 16))
    ledger_copy.load_records(records, ring=1)
    rows = list(SyncSource(ledger_copy.connection).runs_of(DAYS))
    seconds = [second_of(row) for row in rows]
    assert seconds == sorted(seconds, reverse=True)
    found = unpack(rows)
    numbers = [getattr(found, name).tolist() for name in Requests._fields[:-1]]
    addresses = [tuple(half) for half in found.address.tolist()]
    view = ledger_copy.connection.execute(
        "SELECT (extract(epoch FROM time) * 1000000)::bigint, request_id, node_id, key_id, asset_id, assets, protocol, "
        "status, code, source, latency_ns, weight, inet_send(address) FROM usage_log"
    ).fetchall()
    wanted = [(*row[:-1], (int.from_bytes(row[-1][4:12]), int.from_bytes(row[-1][12:]))) for row in view]
    assert sorted(zip(*numbers, addresses, strict=True)) == sorted(wanted)


def test_nothing_is_unpacked_of_nothing() -> None:
    """A time without a row."""
    assert unpack([]).total == 0
