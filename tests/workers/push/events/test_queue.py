"""workers/push/events/queue.py: nothing is lost or doubled, whoever dies; one worker takes an event; on PostgreSQL."""

import threading
from collections.abc import Iterator
from random import Random

import psycopg
import pytest

from trinity.push import events
from trinity.store.connect import AnyConnection, connect
from workers.push.events import queue
from workers.push.events.queue import CLAIMS_OF_ENDPOINT_MAX, Claim, claim, settle
from workers.push.events.schedule import EventAnswer, EventOutcome, judge


@pytest.fixture
def connection(database_url: str) -> Iterator[AnyConnection]:
    """One account with two endpoints, the second for `key.revoked` alone."""
    with connect(database_url, "tests", autocommit=True) as opened:
        opened.execute("INSERT INTO accounts (name) VALUES ('acme')")
        insert = "INSERT INTO push_endpoints (account_id, url, types, secret) VALUES (1, 'https://x/', %s, 's')"
        opened.execute(insert, [[]])
        opened.execute(insert, [["key.revoked"]])
        yield opened


def end_claims(connection: AnyConnection) -> None:
    connection.execute("UPDATE push_event_deliveries SET claimed_until = now() WHERE claimed_until IS NOT NULL")


def make_due(connection: AnyConnection) -> None:
    connection.execute("UPDATE push_event_deliveries SET next_at = now() - interval '1 second'")


def try_once(connection: AnyConnection, of: Claim, answer: EventAnswer) -> EventOutcome:
    outcome = judge(answer, of.attempts + 1, Random(1))
    settle(connection, of, answer, outcome)
    return outcome


def states(connection: AnyConnection) -> list[tuple[str, int]]:
    return connection.execute(  # type: ignore[return-value]
        "SELECT state, attempts FROM push_event_deliveries ORDER BY event_id, endpoint_id"
    ).fetchall()


def test_an_event_is_taken_by_one_worker_alone(connection: AnyConnection, database_url: str) -> None:
    """Four nodes that look at one moment share what is due."""
    uids = {events.emit(connection, 1, "key.revoked", {"key": number}) for number in range(CLAIMS_OF_ENDPOINT_MAX)}
    together, taken = threading.Barrier(4), list[Claim]()

    def work() -> None:
        with connect(database_url, "tests", autocommit=True) as own:
            together.wait()
            for _ in range(4):
                taken.extend(claim(own, 3))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [(one.uid, one.endpoint_id) for one in taken]
    assert sorted(found) == sorted((uid, endpoint) for uid in uids for endpoint in (1, 2))


def test_what_a_node_had_under_way_when_it_died_is_posted_by_another_with_the_same_id(
    connection: AnyConnection,
) -> None:
    """As soon as the claim ends; the try that nobody saw the end of is not counted."""
    uid = events.emit(connection, 1, "key.created", {})
    (first,) = claim(connection, 9)
    assert claim(connection, 9) == []
    end_claims(connection)
    (second,) = claim(connection, 9)
    assert (first.uid, second.uid, second.attempts) == (uid, uid, 0)


def test_a_failed_try_is_counted_and_waits_for_its_delay(connection: AnyConnection) -> None:
    """5 seconds after the first, and its reason stands with it and with the endpoint."""
    events.emit(connection, 1, "key.created", {})
    (one,) = claim(connection, 9)
    try_once(connection, one, EventAnswer(503))
    assert states(connection) == [("waiting", 1)]
    assert claim(connection, 9) == []
    row = connection.execute(
        "SELECT next_at - now() > interval '4 seconds', last_status, last_error FROM push_event_deliveries"
    ).fetchone()
    assert row == (True, 503, "status 503")
    make_due(connection)
    (again,) = claim(connection, 9)
    assert (again.attempts, again.is_failing) == (1, True)
    try_once(connection, again, EventAnswer(204))
    assert states(connection) == [("delivered", 2)]
    row = connection.execute("SELECT failing_since, failures, last_status FROM push_endpoints WHERE id = 1").fetchone()
    assert row == (None, 0, 204)


def test_a_worker_that_woke_up_too_late_changes_only_for_the_better(connection: AnyConnection) -> None:
    """Its failure is nobody's any more; that the event arrived holds whoever is at it."""
    events.emit(connection, 1, "key.created", {})
    (late,) = claim(connection, 9)
    end_claims(connection)
    (current,) = claim(connection, 9)
    try_once(connection, late, EventAnswer(500))
    assert states(connection) == [("waiting", 0)]
    try_once(connection, late, EventAnswer(200))
    assert states(connection) == [("delivered", 1)]
    try_once(connection, current, EventAnswer(500))
    assert states(connection) == [("delivered", 1)]


def test_410_disables_the_endpoint_and_tells_so_in_one_transaction(
    connection: AnyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What waits for it has failed, and can be replayed; its owner has an event, and a mail to come."""
    for number in range(3):
        events.emit(connection, 1, "key.created", {"key": number})
    one = claim(connection, 1)[0]

    def broken(*_: object, **__: object) -> str:
        raise psycopg.OperationalError("the server went away")

    with monkeypatch.context() as patched:
        patched.setattr(queue.events, "emit", broken)
        with pytest.raises(psycopg.OperationalError):
            try_once(connection, one, EventAnswer(410))
    assert states(connection) == [("waiting", 0)] * 3, "not half of it"
    try_once(connection, one, EventAnswer(410))
    assert states(connection) == [("failed", 1), ("failed", 0), ("failed", 0), ("failed", 0)]
    assert connection.execute("SELECT state, disabled_reason FROM push_endpoints WHERE id = 1").fetchone() == (
        "disabled", "it answered 410 Gone",
    )  # fmt: skip
    told = events.read_feed(connection, 1)[0]
    assert (told.type, told.data["endpoint"], told.data["reason"]) == ("endpoint.disabled", 1, "it answered 410 Gone")
    assert connection.execute("SELECT count(*) FROM push_event_mails").fetchone() == (1,)
    assert claim(connection, 9) == []


def test_an_endpoint_that_took_nothing_for_five_days_is_disabled(connection: AnyConnection) -> None:
    """At a failure, and not a moment before; something that arrives clears it."""
    events.emit(connection, 1, "key.created", {})
    (one,) = claim(connection, 9)
    try_once(connection, one, EventAnswer(500))
    for days, state in (("4 days 23 hours", "active"), ("5 days", "disabled")):
        connection.execute("UPDATE push_endpoints SET failing_since = now() - %s::interval WHERE id = 1", [days])
        make_due(connection)
        (one,) = claim(connection, 9)
        try_once(connection, one, EventAnswer(500))
        assert connection.execute("SELECT state FROM push_endpoints WHERE id = 1").fetchone() == (state,)
    assert events.read_feed(connection, 1)[0].data["reason"] == "nothing arrived for 5 days"


def test_an_endpoint_that_hangs_keeps_four_places_and_no_more(connection: AnyConnection) -> None:
    """The others go on."""
    for number in range(9):
        events.emit(connection, 1, "key.created", {"key": number})
    assert len(claim(connection, 64)) == CLAIMS_OF_ENDPOINT_MAX
    assert claim(connection, 64) == []
    events.emit(connection, 1, "key.revoked", {})
    assert [one.endpoint_id for one in claim(connection, 64)] == [2]


def test_an_event_that_was_tried_for_three_days_is_told_once_and_never_of_itself(connection: AnyConnection) -> None:
    """`event.exhausted` in the feed; one that cannot be delivered either adds no other."""
    events.emit(connection, 1, "key.created", {})
    connection.execute("UPDATE push_event_deliveries SET attempts = 9")
    (one,) = claim(connection, 9)
    try_once(connection, one, EventAnswer(None, "timeout"))
    told = events.read_feed(connection, 1)[0]
    assert (told.type, told.data["event"], told.data["error"]) == ("event.exhausted", one.uid, "timeout")
    connection.execute("UPDATE push_event_deliveries SET attempts = 9")
    (one,) = claim(connection, 9)
    assert try_once(connection, one, EventAnswer(None, "timeout")).is_exhausted
    assert len(events.read_feed(connection, 1)) == 2


def test_two_secrets_are_given_while_the_old_one_lasts(connection: AnyConnection) -> None:
    """Then the new one alone."""
    events.emit(connection, 1, "key.created", {})
    connection.execute("UPDATE push_endpoints SET old_secret = 'old', old_secret_until = now() + interval '1 hour'")
    assert [(one.secret, one.old_secret) for one in claim(connection, 9)] == [("s", "old")]
    end_claims(connection)
    connection.execute("UPDATE push_endpoints SET old_secret_until = now()")
    assert [(one.secret, one.old_secret) for one in claim(connection, 9)] == [("s", None)]


def test_a_paused_endpoint_gets_all_of_it_later(connection: AnyConnection) -> None:
    """Events wait; nothing is lost."""
    connection.execute("UPDATE push_endpoints SET state = 'paused'")
    uid = events.emit(connection, 1, "key.created", {})
    assert claim(connection, 9) == []
    connection.execute("UPDATE push_endpoints SET state = 'active'")
    assert [one.uid for one in claim(connection, 9)] == [uid]
