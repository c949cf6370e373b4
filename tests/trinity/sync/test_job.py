"""The sync job against a real PostgreSQL and a real Valkey: afterwards both say the same, whatever happened between."""

from tests.support.valkey_server import ValkeyServer
from tests.trinity.sync.ledger_copy import LedgerCopy, assert_same, run_sync


def test_the_whole_history_is_brought_and_a_second_run_brings_nothing(
    ledger_copy: LedgerCopy, valkey_server: ValkeyServer
) -> None:
    """Every row, in words, in its sets."""
    ledger_copy.load(3000)
    ledger_copy.load(2000, ring=1, shift_seconds=-2 * 86_400)
    ledger_copy.add_calls(20)
    result = run_sync(ledger_copy.url, valkey_server.settings)
    with valkey_server.admin() as client:
        assert assert_same(ledger_copy, client) == result.usage_entries == 5000
        assert result.is_whole
        assert result.report_calls == 20
        again = run_sync(ledger_copy.url, valkey_server.settings)
        assert (again.usage_entries, again.report_calls, again.is_whole) == (0, 0, False)
        assert assert_same(ledger_copy, client) == 5000
