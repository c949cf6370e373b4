"""trinity/push/orders.py: put down, taken by one node, told once; on PostgreSQL."""

import datetime
import threading
import uuid
from collections.abc import Iterator

import pytest

from trinity.errors import AbsentError, InputError, RefusedError
from trinity.push import orders
from trinity.push.orders import Taken, create_order, finish, read_order, take
from trinity.store.connect import AnyConnection, connect

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    """Subscriptions 1 and 2, and nodes 1 and 2."""
    with connect(database_url, "tests", autocommit=True) as opened:
        opened.execute("INSERT INTO accounts (name) VALUES ('acme')")
        for number in (1, 2):
            opened.execute("INSERT INTO nodes (uuid, name) VALUES (%s, 'n')", [uuid.UUID(int=number)])
            opened.execute(
                "INSERT INTO push_subscriptions (account_id, target, assets, interval_s, secret)"
                " VALUES (1, 'https://x/', '{BTC}', 10, 's')"
            )
        yield opened


def test_an_order_s_way(connection: AnyConnection) -> None:
    """It waits, runs and is done, with its result."""
    made = create_order(connection, 1, "replay", {"sequence": 7})
    assert (made.state, made.result) == ("waiting", None)
    (taken,) = take(connection, 1, [1], 9)
    assert (taken.id, taken.kind, taken.argument) == (made.id, "replay", {"sequence": 7})
    assert read_order(connection, made.id, 1).state == "running"
    finish(connection, made.id, True, {"outcome": "delivered"})
    found = read_order(connection, made.id, 1)
    assert (found.state, found.result) == ("done", {"outcome": "delivered"})


def test_an_order_is_taken_once_however_many_look(connection: AnyConnection, database_url: str) -> None:
    """And only by who serves its shard."""
    for _ in range(3):
        create_order(connection, 1, "test", {})
    assert take(connection, 1, [2, 3], 9) == []
    together, taken = threading.Barrier(4), list[Taken]()

    def look() -> None:
        with connect(database_url, "tests", autocommit=True) as own:
            together.wait()
            taken.extend(take(own, 1, [1], 9))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len({order.id for order in taken}) == 3


@pytest.mark.parametrize("is_taken", [False, True])
def test_an_order_that_nobody_ends_is_told_as_failed(connection: AnyConnection, is_taken: bool) -> None:
    """No pusher runs, or the one that took it died; it is never carried out later."""
    made = create_order(connection, 1, "test", {})
    if is_taken:
        take(connection, 1, [1], 9)
    connection.execute("UPDATE push_orders SET expires_at = now()")
    found = read_order(connection, made.id, 1)
    assert found.state == "failed"
    assert found.result is not None
    assert ("has ended" if is_taken else "no pusher") in found.result["error"]
    assert take(connection, 1, [1], 9) == []


def test_another_subscription_s_order_is_not_there(connection: AnyConnection) -> None:
    """Whoever guesses its id sees nothing."""
    made = create_order(connection, 1, "test", {})
    with pytest.raises(AbsentError):
        read_order(connection, made.id, 2)


def test_three_orders_of_a_subscription_are_under_way_at_most(connection: AnyConnection) -> None:
    """The next one when one of them has ended."""
    made = [create_order(connection, 1, "test", {}) for _ in range(3)]
    with pytest.raises(RefusedError, match="3 orders"):
        create_order(connection, 1, "test", {})
    create_order(connection, 2, "test", {})
    take(connection, 1, [1], 1)
    finish(connection, made[0].id, False, {})
    create_order(connection, 1, "test", {})


@pytest.mark.parametrize(
    ("moment", "words"),
    [
        (NOW + datetime.timedelta(seconds=1), "ahead"),
        (NOW - datetime.timedelta(hours=24, seconds=1), "at most 24 h"),
        (NOW.replace(tzinfo=None), "time zone"),
    ],
)
def test_since_is_within_a_day(moment: datetime.datetime, words: str) -> None:
    """What is older is in the history."""
    with pytest.raises(InputError, match=words):
        orders.since("since", moment, NOW)
    assert orders.since("since", NOW - datetime.timedelta(hours=24), NOW) == {"since": "2026-02-28T12:00:00+00:00"}
