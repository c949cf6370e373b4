"""workers/ledger/usage/usage_tables.py: what a batch of usage does to its tables; test_ledger.py loads whole files."""

import contextlib

from tests.workers.ledger.ledger_fixture import NODE, make_records, one
from trinity.store.connect import connect
from workers.ledger.ledger import Ledger
from workers.ledger.usage.usage_tables import USAGE, UsageTables


def test_a_change_is_ready_before_its_transaction_and_there_after_it(database_url: str) -> None:
    """Partitions and names of assets are there at once, rows and sums when it is written, nothing of a failed one."""
    with connect(database_url, "tests", autocommit=True) as connection:
        tables = UsageTables(connection, Ledger(connection, USAGE, NODE, "n").node_id)
        records = make_records(50)
        change = tables.of_records(records)
        assert one(connection, "SELECT count(*) FROM assets") > 0
        assert one(connection, "SELECT count(*) FROM usage_log") == 0
        with contextlib.suppress(ZeroDivisionError), connection.transaction():
            change.write()
            raise ZeroDivisionError
        assert one(connection, "SELECT count(*) FROM usage_log") == 0
        with connection.transaction():
            change.write()
        change.committed()
        assert one(connection, "SELECT count(*) FROM usage_log") == len(change.with_row)
        assert one(connection, "SELECT sum(requests)::bigint FROM usage_day") == len(records)
