"""trinity/push/store.py, on a real PostgreSQL"""

import concurrent.futures
import datetime
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from trinity.access import accounts
from trinity.errors import AbsentError, InputError, RefusedError
from trinity.limits import SUBSCRIPTIONS_PER_ACCOUNT_MAX
from trinity.push import store
from trinity.push.secret import make_secret
from trinity.push.subscription import Subscription, SubscriptionChange, SubscriptionDraft

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DRAFT = SubscriptionDraft(target="https://hooks.example.com/", assets=("BTC", "ETH"), interval_s=10)
HOUR = datetime.timedelta(hours=1)

Connection = psycopg.Connection[Any]


def secret(number: int) -> str:
    return make_secret(lambda count: bytes([number]) * count)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """With the accounts `acme` (1) and `rival` (2)."""
    with psycopg.connect(database_url, autocommit=True) as found:
        accounts.set_account(found, "acme", None, None)
        accounts.set_account(found, "rival", None, None)
        yield found


def made(connection: Connection, account: int | str = "acme") -> Subscription:
    return store.create(connection, DRAFT, account, None, secret(1))


def test_changes_are_followed_by_revision(connection: Connection) -> None:
    """Whoever asks with the last revision gets what changed since, each once as it is now, deleted ones as well."""
    first, second = made(connection), made(connection)
    found, revision = store.changed_since(connection, 0)
    assert found == [first, second]
    assert store.changed_since(connection, revision) == ([], revision)
    store.pause(connection, first.id, None)
    store.change(connection, first.id, None, SubscriptionChange(interval_s=20))
    store.delete(connection, second.id, 1)
    (changed, deleted), newer = store.changed_since(connection, revision)
    assert (changed.id, changed.state, changed.interval_s) == (first.id, "paused", 20)
    assert (deleted.id, deleted.deleted_at is not None) == (second.id, True)
    assert newer > revision


def test_no_change_comes_behind_a_revision_that_was_read(connection: Connection, database_url: str) -> None:
    """One that began earlier and ends later has the larger revision: a follower never misses it."""
    first, second = made(connection), made(connection)
    revision = store.changed_since(connection, 0)[1]
    with (
        concurrent.futures.ThreadPoolExecutor() as threads,
        psycopg.connect(database_url, autocommit=True) as slow,
        psycopg.connect(database_url, autocommit=True) as fast,
    ):
        with slow.transaction():
            store.pause(slow, first.id, None)
            pausing = threads.submit(store.pause, fast, second.id, None)
            assert store.changed_since(connection, revision) == ([], revision)
        pausing.result(30)
        assert [row.id for row in store.changed_since(connection, revision)[0]] == [first.id, second.id]


def test_a_change_wakes_whoever_listens(connection: Connection, database_url: str) -> None:
    """With its number, when it is committed."""
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN push")
        number = made(connection).id
        assert [told.payload for told in listener.notifies(timeout=30, stop_after=1)] == [str(number)]


def test_a_customer_s_hand_reaches_its_own(connection: Connection) -> None:
    """Another's is one that there is not, for every act."""
    number = made(connection).id
    acts = (
        lambda: store.find(connection, number, 2),
        lambda: store.show(connection, number, 2),
        lambda: store.change(connection, number, 2, SubscriptionChange(name="x")),
        lambda: store.pause(connection, number, 2),
        lambda: store.resume(connection, number, 2),
        lambda: store.rotate(connection, number, 2, HOUR, secret(2)),
        lambda: store.delete(connection, number, 2),
    )
    for act in acts:
        with pytest.raises(AbsentError):
            act()
    assert store.list_for(connection, 2, 0, 10) == []
    assert store.find(connection, number, 1) == store.find(connection, number, None)


HEALTH = "INSERT INTO push_states (subscription_id, failing_since, failures) VALUES (%s, now(), 9)"


def test_a_state_is_left_by_its_own_way(connection: Connection) -> None:
    """A disabled one is not paused; it is resumed, and its receiver counts as well again."""
    number, revision = (found := made(connection)).id, found.revision
    connection.execute(HEALTH, [number])
    assert store.disable(connection, number, revision, "failing for 5 days")
    assert not store.disable(connection, number, revision, "once more")
    report = store.show(connection, number, None)
    assert (report.state, report.disabled_reason, report.failures) == ("disabled", "failing for 5 days", 9)
    with pytest.raises(RefusedError):
        store.pause(connection, number, None)
    assert store.resume(connection, number, None)[1]
    report = store.show(connection, number, None)
    assert (report.state, report.disabled_reason, report.failing_since, report.failures) == ("active", None, None, 0)
    assert not store.disable(connection, number, revision, "of another time")
    store.delete(connection, number, None)
    assert not store.disable(connection, number, revision, "too late")


def test_another_target_counts_as_well(connection: Connection) -> None:
    """Its failures were the other one's; whoever gave that up does not disable this one."""
    found = made(connection)
    connection.execute(HEALTH, [found.id])
    store.change(connection, found.id, None, SubscriptionChange(name="another name"))
    assert store.show(connection, found.id, None).failures == 9
    store.change(connection, found.id, None, SubscriptionChange(target="https://93.184.216.35/"))
    report = store.show(connection, found.id, None)
    assert (report.failing_since, report.failures) == (None, 0)
    assert not store.disable(connection, found.id, found.revision, "410 of the other one")


def test_the_last_trigger_stays(connection: Connection) -> None:
    """Off goes only what leaves another one."""
    number = made(connection).id
    with pytest.raises(InputError):
        store.change(connection, number, None, SubscriptionChange(interval_s=0))
    changed = store.change(connection, number, None, SubscriptionChange(interval_s=0, heartbeat_s=60))
    assert (changed.interval_s, changed.heartbeat_s) == (0, 60)


def test_two_secrets_at_most_and_the_old_one_has_an_end(connection: Connection) -> None:
    """The one before the last signs no more; without a grace the old one ends at once; the same one is no other."""
    number = made(connection).id
    found = store.rotate(connection, number, None, HOUR, secret(2))
    assert (found.secret, found.old_secret) == (secret(2), secret(1))
    assert found.old_secret_until is not None
    found = store.rotate(connection, number, None, HOUR, secret(3))
    assert (found.secret, found.old_secret) == (secret(3), secret(2))
    found = store.rotate(connection, number, None, datetime.timedelta(), secret(4))
    assert (found.secret, found.old_secret, found.old_secret_until) == (secret(4), None, None)
    with pytest.raises(RefusedError):
        store.rotate(connection, number, None, HOUR, secret(4))


def test_an_account_has_as_many_as_it_may_however_many_ask_at_once(connection: Connection, database_url: str) -> None:
    """The last place is taken once; another account has its own."""
    connection.execute(
        "INSERT INTO push_subscriptions (account_id, target, assets, interval_s, secret)"
        " SELECT 1, 'https://a.example/', '{BTC}', 10, 'whsec_' FROM generate_series(2, %s)",
        [SUBSCRIPTIONS_PER_ACCOUNT_MAX],
    )

    def take(_: int) -> bool:
        with psycopg.connect(database_url, autocommit=True) as own:
            try:
                made(own)
            except RefusedError:
                return False
            return True

    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(take, range(4))) == [False, False, False, True]
    assert made(connection, "rival").account_id == 2


def test_an_account_that_is_deleted_gets_nothing_more(connection: Connection) -> None:
    """Its subscriptions end with it, followers are told, and it makes no other."""
    number = made(connection).id
    revision = store.changed_since(connection, 0)[1]
    accounts.delete(connection, "acme", revoke_keys=True)
    assert [row.id for row in store.changed_since(connection, revision)[0]] == [number]
    with pytest.raises(AbsentError):
        store.find(connection, number, None)
    with pytest.raises(AbsentError):
        made(connection)
