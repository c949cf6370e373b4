"""trinity/push/deliveries.py, on a real PostgreSQL"""

import datetime
import uuid

import psycopg
import pytest

from tests.trinity.push.test_store import DRAFT, secret
from trinity.access import accounts
from trinity.errors import AbsentError, RefusedError
from trinity.limits import ORDERS_WAITING_MAX
from trinity.push import store
from trinity.push.deliveries import ARRIVED, SENTENCES, list_deliveries, order
from trinity.store import partitions
from trinity.vocabulary import DELIVERY_OUTCOMES, DELIVERY_REASONS


def test_each_outcome_is_told_in_words_and_failures_by_themselves(database_url: str) -> None:
    """Of one's own subscription, over partitions of days, the newest first."""
    now = datetime.datetime.now(datetime.UTC)
    with psycopg.connect(database_url, autocommit=True) as connection:
        accounts.set_account(connection, "acme", None, None)
        number = store.create(connection, DRAFT, "acme", None, secret(1)).id
        partitions.make_ahead(connection, now)
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (%s, 'push-1')", [uuid.uuid4()])
        for outcome in range(len(DELIVERY_OUTCOMES)):
            time = now - datetime.timedelta(hours=len(DELIVERY_OUTCOMES) - outcome)
            kind = outcome % len(DELIVERY_REASONS)
            row = [time, outcome, number, outcome + 1, outcome, kind]
            connection.execute(
                "INSERT INTO push_deliveries SELECT %s, %s, %s, %s, 1, id, 0, 0, 0, %s, 1, %s, 2 FROM nodes", row
            )
        found = list_deliveries(connection, number, 1, failed=False, count=100)
        assert [row.outcome for row in found] == list(reversed(DELIVERY_OUTCOMES))
        assert all(row.why == SENTENCES[row.outcome] for row in found)
        failed = list_deliveries(connection, number, 1, failed=True, count=100)
        assert {row.outcome for row in failed} == set(DELIVERY_OUTCOMES) - set(ARRIVED)
        with pytest.raises(AbsentError):
            list_deliveries(connection, number, 2, failed=False, count=1)


def test_orders_are_for_what_there_is_and_a_few_at_a_time(database_url: str) -> None:
    """One that was carried out, or is over age, gives its place back."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        accounts.set_account(connection, "acme", None, None)
        numbers = [store.create(connection, DRAFT, "acme", None, secret(1)).id for _ in range(ORDERS_WAITING_MAX)]
        made = [order(connection, number, None, "test", {}) for number in numbers]
        with pytest.raises(RefusedError):
            order(connection, numbers[0], 1, "test", {})
        connection.execute("UPDATE push_orders SET state = 'done' WHERE id = %s", [made[0].id])
        with pytest.raises(AbsentError):
            order(connection, numbers[0], 1, "replay", {"sequence": 1})
        with pytest.raises(AbsentError):
            order(connection, numbers[0], 2, "test", {})
        assert order(connection, numbers[0], 1, "test", {}).state == "waiting"
