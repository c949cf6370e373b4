"""workers/push/events/posting.py: an event over real TLS, signed as a foreign library checks it, whatever dies."""

import json
import os
from collections.abc import Iterator

import pytest
import standardwebhooks

from tests.support.receiver import Received, Receiver
from tests.workers.push.conftest import MakeNode, wait_until
from trinity.push import events
from trinity.push.secret import make_secret
from trinity.store.connect import AnyConnection, connect


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    with connect(database_url, "tests", autocommit=True) as opened:
        opened.execute("INSERT INTO accounts (name) VALUES ('acme')")
        yield opened


def endpoint(connection: AnyConnection, url: str) -> str:
    """A new one; its secret."""
    secret = make_secret(os.urandom)
    connection.execute("INSERT INTO push_endpoints (account_id, url, secret) VALUES (1, %s, %s)", [url, secret])
    return secret


def states(connection: AnyConnection) -> list[tuple[str, int]]:
    return connection.execute(  # type: ignore[return-value]
        "SELECT state, attempts FROM push_event_deliveries ORDER BY event_id, endpoint_id"
    ).fetchall()


def test_a_foreign_library_verifies_what_is_posted(
    make_node: MakeNode, receiver: Receiver, connection: AnyConnection
) -> None:
    """Its id is the event's, its body type, time and data; with the old secret as well while that lasts."""
    secret = endpoint(connection, receiver.url("/events"))
    old = make_secret(os.urandom)
    connection.execute("UPDATE push_endpoints SET old_secret = %s, old_secret_until = now() + interval '1 h'", [old])
    make_node("a").start()
    uid = events.emit(connection, 1, "key.created", {"key": 7, "name": "web shop"})
    wait_until(lambda: states(connection) == [("delivered", 1)], "the event")
    (one,) = receiver.of("/events")
    for known in (secret, old):
        message = standardwebhooks.Webhook(known).verify(one.body, one.headers)
        assert message["type"] == "key.created"
        assert message["data"] == {"key": 7, "name": "web shop"}
    assert one.headers["webhook-id"] == uid


def test_a_private_address_gets_no_event(make_node: MakeNode, connection: AnyConnection) -> None:
    """It is checked at each dial, whatever was checked before; the reason stands with the delivery."""
    endpoint(connection, "https://127.0.0.2/events")
    make_node("a").start()
    events.emit(connection, 1, "key.created", {})
    wait_until(lambda: states(connection) == [("waiting", 1)], "the try")
    ((error,),) = connection.execute("SELECT last_error FROM push_event_deliveries").fetchall()
    assert error.startswith("refused_address: ")


def test_a_node_that_is_killed_over_an_event_loses_none(
    make_node: MakeNode, receiver: Receiver, connection: AnyConnection
) -> None:
    """What it had under way another posts with the same id and body; what had arrived is posted no second time."""
    endpoint(connection, receiver.url("/events"))
    seen: list[Received] = []

    def answer(one: Received) -> bytes | None:
        seen.append(one)
        is_first = json.loads(one.body)["data"]["key"] == 1
        return b"HTTP/1.1 204 No Content\r\n\r\n" if is_first or len(seen) > 2 else None

    receiver.answer = answer
    first = make_node("a")
    first.start()
    events.emit(connection, 1, "key.created", {"key": 1})
    wait_until(lambda: states(connection) == [("delivered", 1)], "the first event")
    uid = events.emit(connection, 1, "key.created", {"key": 2})
    wait_until(lambda: len(seen) == 2, "the second on its way")
    first.kill()
    make_node("b").start()
    connection.execute("UPDATE push_event_deliveries SET claimed_until = now() WHERE claimed_until IS NOT NULL")
    wait_until(lambda: states(connection) == [("delivered", 1)] * 2, "the second event")
    posted = [(one.headers["webhook-id"], one.body) for one in seen]
    assert posted[1] == posted[2]
    assert posted[1][0] == uid
    assert len(posted) == 3
