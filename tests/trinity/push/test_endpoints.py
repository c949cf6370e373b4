"""trinity/push/endpoints.py: made, changed, paused, replayed by their account and nobody else; on PostgreSQL."""

import datetime
import threading
from collections.abc import Iterator

import pytest

from trinity.errors import AbsentError, InputError, RefusedError
from trinity.push import endpoints, events
from trinity.push.endpoints import ENDPOINTS_PER_ACCOUNT_MAX, read_draft
from trinity.store.connect import AnyConnection, connect

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
DRAFT = read_draft("https://hooks.example.com/events")


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    """Accounts 1 and 2."""
    with connect(database_url, "tests", autocommit=True) as opened:
        opened.execute("INSERT INTO accounts (name) VALUES ('acme'), ('other')")
        yield opened


def states(connection: AnyConnection) -> list[str]:
    found = connection.execute("SELECT state FROM push_event_deliveries ORDER BY event_id").fetchall()
    return [row[0] for row in found]


def test_an_endpoint_s_whole_life(connection: AnyConnection) -> None:
    """Made, changed, paused, resumed, rotated, deleted; its secret is in none of what is shown."""
    made, secret = endpoints.create(connection, 1, DRAFT)
    assert (made.id, made.account, made.state, made.types) == (1, "acme", "active", [])
    changed = endpoints.change(connection, 1, 1, {"types": ["key.created"], "name": "books"})
    assert (changed.url, changed.types, changed.name) == (DRAFT.url, ["key.created"], "books")
    assert endpoints.set_state(connection, 1, 1, "paused").state == "paused"
    assert endpoints.set_state(connection, 1, 1, "active").state == "active"
    rotated, new_secret = endpoints.rotate(connection, 1, 1, datetime.timedelta(hours=1))
    assert new_secret != secret
    assert rotated.old_secret_until is not None
    assert not any(one in str(endpoints.list_endpoints(connection, 1)) for one in (secret, new_secret))
    endpoints.delete(connection, 1, 1)
    assert endpoints.list_endpoints(connection, 1) == []


def test_another_account_s_endpoint_is_not_there(connection: AnyConnection) -> None:
    """To see, to change or to end; the operator has all."""
    endpoints.create(connection, 1, DRAFT)
    for act in (
        lambda: endpoints.find(connection, 1, 2),
        lambda: endpoints.change(connection, 1, 2, {"name": "mine"}),
        lambda: endpoints.set_state(connection, 1, 2, "paused"),
        lambda: endpoints.delete(connection, 1, 2),
        lambda: endpoints.rotate(connection, 1, 2, datetime.timedelta(0)),
        lambda: endpoints.send_test(connection, 1, 2),
        lambda: endpoints.list_deliveries(connection, 1, 2, 9),
        lambda: endpoints.replay(connection, 1, 2, since=NOW),
    ):
        with pytest.raises(AbsentError):
            act()
    assert endpoints.find(connection, 1, None).account == "acme"


def test_an_account_has_twenty_at_most_however_many_are_made_at_once(
    connection: AnyConnection, database_url: str
) -> None:
    """Two that come at one moment do not both get the last place."""
    for _ in range(ENDPOINTS_PER_ACCOUNT_MAX - 1):
        endpoints.create(connection, 1, DRAFT)
    together, refused = threading.Barrier(3), list[str]()

    def make() -> None:
        with connect(database_url, "tests", autocommit=True) as own:
            together.wait()
            try:
                endpoints.create(own, 1, DRAFT)
            except RefusedError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=make) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 2
    assert len(endpoints.list_endpoints(connection, 1)) == ENDPOINTS_PER_ACCOUNT_MAX
    endpoints.create(connection, 2, DRAFT)


def test_a_test_goes_to_one_endpoint_alone(connection: AnyConnection) -> None:
    """Whatever types it wants; one that is paused gets none."""
    for types in (["key.created"], []):
        endpoints.create(connection, 1, read_draft(DRAFT.url, types))
    uid = endpoints.send_test(connection, 2, 1)
    assert [d.event for d in endpoints.list_deliveries(connection, 2, 1, 9)] == [uid]
    assert endpoints.list_deliveries(connection, 1, 1, 9) == []
    uid = endpoints.send_test(connection, 1, 1)
    assert [d.event for d in endpoints.list_deliveries(connection, 1, 1, 9)] == [uid]
    endpoints.set_state(connection, 1, 1, "paused")
    with pytest.raises(RefusedError, match="resume it first"):
        endpoints.send_test(connection, 1, 1)


def test_a_replay_queues_what_failed_since_with_the_ids_that_it_had(connection: AnyConnection) -> None:
    """Or one event whatever became of it; what is older, or under way, is left alone."""
    endpoints.create(connection, 1, DRAFT)
    uids = [events.emit(connection, 1, "key.created", {"key": number}) for number in range(4)]
    connection.execute("UPDATE push_event_deliveries SET state = 'failed', attempts = 10")
    connection.execute("UPDATE push_event_deliveries SET state = 'delivered' WHERE event_id = 4")
    connection.execute("UPDATE push_events SET occurred_at = now() - interval '2 days' WHERE id = 1")
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    assert endpoints.replay(connection, 1, 1, since=since) == 2
    assert states(connection) == ["failed", "waiting", "waiting", "delivered"]
    assert connection.execute(
        "SELECT max(attempts) FROM push_event_deliveries WHERE event_id IN (2, 3)"
    ).fetchone() == (0,)
    assert endpoints.replay(connection, 1, 1, uid=uids[3]) == 1
    assert states(connection)[3] == "waiting"
    connection.execute("UPDATE push_event_deliveries SET claimed_until = now() + interval '1 minute'")
    with pytest.raises(AbsentError):
        endpoints.replay(connection, 1, 1, uid=uids[3])
    with pytest.raises(AbsentError):
        endpoints.replay(connection, 1, 1, uid="msg_of_nobody")


def test_who_resumes_a_disabled_endpoint_starts_anew(connection: AnyConnection) -> None:
    """What was counted against it is forgotten; until then nothing is replayed to it."""
    endpoints.create(connection, 1, DRAFT)
    connection.execute(
        "UPDATE push_endpoints SET state = 'disabled', disabled_reason = 'gone', disabled_at = now(),"
        " failing_since = now() - interval '5 days', failures = 30"
    )
    with pytest.raises(RefusedError):
        endpoints.replay(connection, 1, 1, since=NOW)
    found = endpoints.set_state(connection, 1, 1, "active")
    assert (found.state, found.failing_since, found.failures, found.disabled_reason) == ("active", None, 0, None)


def test_an_account_that_is_deleted_is_told_nothing_more(connection: AnyConnection) -> None:
    """Its endpoints end, and what waits for them."""
    endpoints.create(connection, 1, DRAFT)
    events.emit(connection, 1, "key.created", {})
    connection.execute("UPDATE accounts SET deleted_at = now() WHERE id = 1")
    assert endpoints.list_endpoints(connection, 1) == []
    assert states(connection) == ["failed"]


@pytest.mark.parametrize("url", ["http://example.com/", "udp://example.com:9", "example.com", "https://a b/"])
def test_events_go_over_https_alone(url: str) -> None:
    """The error names the field."""
    with pytest.raises(InputError) as found:
        read_draft(url)
    assert found.value.field == "url"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("24h", NOW - datetime.timedelta(hours=24)),
        ("7d", NOW - datetime.timedelta(days=7)),
        ("2026-02-28T00:00:00Z", datetime.datetime(2026, 2, 28, tzinfo=datetime.UTC)),
        ("2026-02-28T01:00:00+01:00", datetime.datetime(2026, 2, 28, tzinfo=datetime.UTC)),
    ],
)
def test_since_is_a_moment_or_how_long_ago(text: str, moment: datetime.datetime) -> None:
    """With its zone."""
    assert endpoints.read_since("since", text, NOW) == moment


@pytest.mark.parametrize("text", ["", "0h", "yesterday", "2026-02-28T00:00:00", "2027-01-01T00:00:00Z", "99999999h"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """By its field."""
    with pytest.raises(InputError, match=r"^since: "):
        endpoints.read_since("since", text, NOW)
