"""One run with its note; tests/trinity/sync/test_job.py has what a run does."""

import pytest

from tests.support.valkey_server import ValkeyServer
from tests.trinity.sync.ledger_copy import LedgerCopy
from trinity.errors import StoreUnavailableError
from trinity.sync.once import described, sync_once


def test_a_good_run_is_noted_and_a_lost_database_is_a_typed_error(
    ledger_copy: LedgerCopy, valkey_server: ValkeyServer
) -> None:
    """The note says when it ended; a connection that is cut leaves none."""
    ledger_copy.load(100)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trinity sync'"
    with pytest.raises(StoreUnavailableError):
        sync_once(
            ledger_copy.url, valkey_server.settings, 93, on_progress=lambda _: ledger_copy.connection.execute(cut)
        )
    assert ledger_copy.connection.execute("SELECT count(*) FROM sync_last").fetchone() == (0,)
    result = sync_once(ledger_copy.url, valkey_server.settings, 93)
    row = ledger_copy.connection.execute("SELECT result, ended_at <= now() FROM sync_last").fetchone()
    assert row == (described(result), True)
