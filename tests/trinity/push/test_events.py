"""trinity/push/events.py: events are told with their effect or not at all, once, to whom they belong; on PostgreSQL."""

import datetime
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trinity.errors import BugError, InputError
from trinity.push import events
from trinity.store.connect import AnyConnection, connect


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    """Accounts 1 and 2; account 1 has an endpoint for all, one for `key.*` types and a disabled one."""
    with connect(database_url, "tests", autocommit=True) as opened:
        opened.execute("INSERT INTO accounts (name) VALUES ('acme'), ('other')")
        insert = (
            "INSERT INTO push_endpoints (account_id, url, types, secret, state) VALUES (%s, 'https://x/', %s, 's', %s)"
        )
        opened.execute(insert, [1, [], "active"])
        opened.execute(insert, [1, ["key.created", "key.revoked"], "active"])
        opened.execute(insert, [1, [], "disabled"])
        opened.execute(insert, [2, [], "active"])
        opened.execute(insert, [None, [], "active"])
        yield opened


def deliveries(connection: AnyConnection) -> list[tuple[int, str]]:
    return connection.execute(
        "SELECT endpoint_id, state FROM push_event_deliveries ORDER BY event_id, endpoint_id"
    ).fetchall()  # type: ignore[return-value]


def test_an_event_goes_to_the_endpoints_of_its_account_that_want_its_type(connection: AnyConnection) -> None:
    """Who is disabled can have it replayed; who filters it, and others' endpoints, never hear of it."""
    events.emit(connection, 1, "subscription.failing", {"subscription": 7})
    assert deliveries(connection) == [(1, "waiting"), (3, "failed")]
    events.emit(connection, 1, "key.created", {"key": 1})
    assert deliveries(connection)[2:] == [(1, "waiting"), (2, "waiting"), (3, "failed")]
    events.emit(connection, None, "node.feed_lost", {"exchange": "kraken"})
    assert deliveries(connection)[5:] == [(5, "waiting")]


def test_an_effect_that_is_undone_takes_its_event_with_it(connection: AnyConnection) -> None:
    """One transaction: a crash or an error in it leaves nothing."""

    def effect() -> None:
        with connection.transaction():
            events.emit(connection, 1, "key.created", {"key": 1})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        effect()
    assert events.read_feed(connection, None) == []
    assert deliveries(connection) == []


def test_what_several_nodes_see_at_one_moment_is_told_once(connection: AnyConnection, database_url: str) -> None:
    """`once` names the thing; what comes second adds no event and no delivery."""
    together = threading.Barrier(4)

    def tell() -> None:
        with connect(database_url, "tests", autocommit=True) as own:
            together.wait()
            events.emit(own, 1, "subscription.failing", {"subscription": 7}, once="subscription 7 failing 3")

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(events.read_feed(connection, 1)) == 1
    assert deliveries(connection) == [(1, "waiting"), (3, "failed")]
    events.emit(connection, 1, "subscription.failing", {"subscription": 7}, once="subscription 7 failing 4")
    assert len(events.read_feed(connection, 1)) == 2


def test_the_feed_is_the_account_s_own_newest_first_in_pages(connection: AnyConnection) -> None:
    """The operator's has all; a page goes on before the last one's end."""
    uids = [events.emit(connection, 1, "key.created", {"key": number}) for number in range(5)]
    events.emit(connection, 2, "key.created", {"key": 9})
    events.emit(connection, None, "node.feed_lost", {"exchange": "kraken"})
    page = events.read_feed(connection, 1, count=3)
    assert [event.uid for event in page] == uids[:1:-1]
    assert page[0].data == {"key": 4}
    rest = events.read_feed(connection, 1, before_id=page[-1].id)
    assert [event.uid for event in rest] == uids[1::-1]
    assert [event.account for event in events.read_feed(connection, None)][:3] == [None, "other", "acme"]
    assert events.read_feed(connection, 1, types=["key.revoked"]) == []


def test_only_what_ends_something_is_mailed(connection: AnyConnection) -> None:
    """A row for each mail that is to be sent."""
    for kind in events.EVENT_TYPES:
        events.emit(connection, 1, kind.name, {})
    mailed = connection.execute(
        "SELECT type FROM push_event_mails JOIN push_events ON id = event_id ORDER BY 1"
    ).fetchall()
    assert mailed == [("endpoint.disabled",), ("subscription.disabled",)]


def test_a_type_that_is_not_in_the_table_is_a_fault_of_ours(connection: AnyConnection) -> None:
    """The table is closed."""
    with pytest.raises(BugError):
        events.emit(connection, 1, "key.made", {})


def test_a_filter_names_types_or_what_they_begin_with() -> None:
    """Once each; a wrong one is refused by its field."""
    assert events.read_types("types", ["key.*", "key.created"]) == [
        "key.quota_warning", "key.created", "key.rotated", "key.revoked",
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"^types: 'keys' is no type"):
        events.read_types("types", ["keys"])
    with pytest.raises(InputError):
        events.read_types("types", ["*"])


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.none(), st.booleans())))
def test_a_body_is_the_same_on_every_try(data: dict[str, object]) -> None:
    """Bytes that depend on nothing but the event."""
    moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    body = events.body_of("key.created", moment, data)
    assert body == events.body_of("key.created", moment, dict(data))
    assert body.startswith(b'{"type":"key.created","timestamp":"2026-01-01T00:00:00.000Z","data":{')
