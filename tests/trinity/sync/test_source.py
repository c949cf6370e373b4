"""PostgreSQL's side of the sync job."""

import time

import pytest

from tests.support.patience import PATIENCE
from tests.trinity.sync.ledger_copy import LedgerCopy
from tests.workers.ledger.ledger_fixture import EVENING_NS
from trinity.errors import SyncRunningError
from trinity.store.connect import connect
from trinity.sync.intervals import touches
from trinity.sync.source import SyncSource

EVENING = EVENING_NS // 10**9


def test_what_came_since_is_known_by_its_seconds(ledger_copy: LedgerCopy) -> None:
    """Nothing since a moment ago; of a batch its own; of an older version's batch that it is unknown."""
    source = SyncSource(ledger_copy.connection)
    assert source.changes(None).seconds is None
    before = source.changes(None).snapshot
    assert source.changes(before).seconds == ()
    ledger_copy.load(100)
    seconds = source.changes(before).seconds
    assert seconds is not None
    assert touches(seconds, EVENING, EVENING + 4)
    assert not touches(seconds, 0, EVENING - 1)
    ledger_copy.connection.execute("UPDATE usage_batches SET oldest = NULL")
    assert source.changes(before).seconds is None


def _once_free(ledger_copy: LedgerCopy) -> SyncSource:
    """The server ends a session some moments after its client did."""
    deadline = time.monotonic() + 10 * PATIENCE
    while True:
        try:
            return SyncSource(ledger_copy.connection)
        except SyncRunningError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_one_at_a_time(ledger_copy: LedgerCopy) -> None:
    """As long as its session lasts."""
    with connect(ledger_copy.url, "tests", autocommit=True) as other:
        SyncSource(other)
        with pytest.raises(SyncRunningError):
            SyncSource(ledger_copy.connection)
    assert set(_once_free(ledger_copy).key_records()) == {f"{number:02x}" * 32 for number in range(1, 5)}
