"""trinity/push/leavings.py: what is over age goes, what is still needed stays; on PostgreSQL."""

from collections.abc import Iterator

import pytest

from trinity.push import events
from trinity.push.leavings import delete_leavings
from trinity.push.orders import create_order
from trinity.store.connect import AnyConnection, connect


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    """One account with an endpoint and a subscription."""
    with connect(database_url, "tests", autocommit=True) as opened:
        opened.execute("INSERT INTO accounts (name) VALUES ('acme')")
        opened.execute("INSERT INTO push_endpoints (account_id, url, secret) VALUES (1, 'https://x/', 's')")
        opened.execute(
            "INSERT INTO push_subscriptions (account_id, target, assets, interval_s, secret)"
            " VALUES (1, 'https://x/', '{BTC}', 10, 's')"
        )
        yield opened


def test_old_events_go_with_their_deliveries_and_mails_but_none_that_waits(connection: AnyConnection) -> None:
    """Whatever its age; and nothing young goes."""
    for number in range(3):
        events.emit(connection, 1, "endpoint.disabled", {"endpoint": number})
    connection.execute("UPDATE push_events SET occurred_at = now() - interval '100 days' WHERE id < 3")
    connection.execute("UPDATE push_event_deliveries SET state = 'delivered' WHERE event_id = 1")
    assert delete_leavings(connection) == 1
    assert [event.id for event in events.read_feed(connection, 1)] == [3, 2]
    assert connection.execute("SELECT count(*) FROM push_event_mails").fetchone() == (2,)


def test_old_orders_go(connection: AnyConnection) -> None:
    """After a day."""
    create_order(connection, 1, "test", {})
    create_order(connection, 1, "test", {})
    assert delete_leavings(connection) == 0
    connection.execute("UPDATE push_orders SET created_at = now() - interval '25 hours'")
    assert delete_leavings(connection) == 2
