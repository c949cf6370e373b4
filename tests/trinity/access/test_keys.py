"""trinity/access/keys.py, on a real PostgreSQL"""

import datetime
import hashlib
from collections.abc import Iterator

import psycopg
import pytest

from trinity.access import keys
from trinity.access.accounts import list_accounts
from trinity.access.keys import Connection, NewKey, OwnLimits
from trinity.errors import AbsentError, InputError, RefusedError
from trinity.limits import API_KEY_BYTES_MAX
from trinity.push.events import read_feed
from trinity.vocabulary import KeyState

DAY = datetime.timedelta(days=1)
KEYS_MAX = 1000


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connected:
        yield connected


def make(connection: Connection, account: str = "acme", plan: str = "free") -> tuple[keys.Key, str]:
    return keys.create(connection, NewKey(account, plan), KEYS_MAX)


def test_a_key_is_shown_once_and_only_its_digest_is_kept(connection: Connection) -> None:
    """No column of the database holds more of the key than its first twelve characters."""
    key, secret = make(connection)
    row = connection.execute("SELECT k::text, digest FROM api_keys AS k").fetchone()
    assert row is not None
    assert secret[12:] not in row[0]
    assert row[1] == hashlib.sha256(secret.encode()).digest()
    assert key.prefix == secret[:12]
    assert secret.startswith("trk_")
    assert len(secret) <= API_KEY_BYTES_MAX
    assert secret.isascii()


def test_a_new_key_has_its_plans_limits_and_its_account(connection: Connection) -> None:
    """The account is made with its first key, and found again by its name."""
    key, _ = keys.create(connection, NewKey("acme", "standard", name="shop", language="de"), KEYS_MAX)
    second, _ = make(connection)
    assert (key.rate_per_second, key.burst, key.monthly_quota, key.own_limits) == (100, 200, 100_000_000, False)
    assert key.used == 0, "it is known, although no node has counted yet"
    assert (key.account, key.name, key.state, key.expires_at) == ("acme", "shop", "active", None)
    (account,) = list_accounts(connection)
    assert (account.name, account.language, account.keys) == ("acme", "de", 2)
    assert [found.id for found in keys.list_keys(connection, "acme", None, 10)] == [second.id, key.id]
    assert keys.list_keys(connection, "other", None, 10) == []
    assert [found.id for found in keys.list_keys(connection, None, "standard", 10)] == [key.id]


def test_an_unknown_plan_makes_nothing(connection: Connection) -> None:
    """Neither the key nor its account."""
    with pytest.raises(AbsentError, match="no plan 'gold'"):
        make(connection, plan="gold")
    assert list_accounts(connection) == []


def test_a_key_without_room_in_shared_memory_is_refused(connection: Connection) -> None:
    """A key that no node could know is not handed out."""
    with pytest.raises(RefusedError, match="KEYS_MAX"):
        keys.create(connection, NewKey("acme", "free"), 0)
    assert keys.list_keys(connection, None, None, 10) == []


def test_a_key_is_found_by_its_number_and_by_any_beginning_that_is_its_own(connection: Connection) -> None:
    """A beginning that fits several is refused with their numbers, one that fits none as well."""
    first, _ = make(connection)
    second, _ = make(connection)
    assert keys.find(connection, first.id).prefix == first.prefix
    assert keys.find(connection, second.prefix).id == second.id
    with pytest.raises(InputError, match=f"fits several keys .{first.id}, {second.id}"):
        keys.find(connection, "trk_")
    for absent in (999, "trk_zzzzzzzz", "%", "_"):
        with pytest.raises(AbsentError):
            keys.find(connection, absent)


def test_a_rotation_lets_the_old_key_work_for_its_grace(connection: Connection) -> None:
    """The new one has the account, plan, name and limits of the old."""
    old, old_secret = keys.create(
        connection, NewKey("acme", "pro", name="shop", limits=OwnLimits(rate_requests=7)), KEYS_MAX
    )
    new, ended, secret = keys.rotate(connection, old.id, DAY, KEYS_MAX)
    assert secret != old_secret
    assert (new.account, new.plan, new.name, new.rate_per_second) == ("acme", "pro", "shop", 7)
    assert ended.replaced_by == new.id
    assert ended.state == "active"
    assert ended.expires_at is not None
    assert abs(ended.expires_at - datetime.datetime.now(datetime.UTC) - DAY) < DAY / 24
    with pytest.raises(RefusedError, match=f"replaced by key {new.id}"):
        keys.rotate(connection, old.id, DAY, KEYS_MAX)


def test_a_rotation_without_grace_ends_the_old_key_now(connection: Connection) -> None:
    """It is revoked, not only past its end: no node's clock can bring it back, and nobody resumes or rotates it."""
    old, _ = make(connection)
    new, ended, _ = keys.rotate(connection, old.id, datetime.timedelta(), KEYS_MAX)
    assert (ended.state, new.state) == ("revoked", "active")
    with pytest.raises(RefusedError):
        keys.rotate(connection, old.id, DAY, KEYS_MAX)
    with pytest.raises(RefusedError, match="revoked"):
        keys.set_state(connection, old.id, KeyState.ACTIVE)


def test_an_expired_key_is_not_resumed(connection: Connection) -> None:
    """Its end came by itself; it shows as expired."""
    key, _ = make(connection)
    connection.execute("UPDATE api_keys SET expires_at = now() - interval '1 s'")
    assert keys.find(connection, key.id).state == "expired"
    with pytest.raises(RefusedError, match="expired"):
        keys.set_state(connection, key.id, KeyState.ACTIVE)


@pytest.mark.parametrize("end", ["infinity", "20000-01-01"])
def test_an_end_beyond_all_calendars_is_none(connection: Connection, end: str) -> None:
    """Written by plain SQL, it does not keep the operator from listing, showing and rotating keys."""
    key, _ = make(connection)
    connection.execute("UPDATE api_keys SET expires_at = %s", [end])
    assert [found.expires_at for found in keys.list_keys(connection, None, None, 9)] == [None]
    assert keys.find(connection, key.id).state == "active"
    new, old, _ = keys.rotate(connection, key.id, DAY, KEYS_MAX)
    assert new.expires_at is None
    assert old.expires_at is not None


def test_a_rotation_never_prolongs_a_life(connection: Connection) -> None:
    """Old and new key keep the end that was set before."""
    old, _ = keys.create(connection, NewKey("acme", "free", lifetime=DAY / 2), KEYS_MAX)
    new, ended, _ = keys.rotate(connection, old.id, DAY, KEYS_MAX)
    assert new.expires_at == ended.expires_at == old.expires_at


def test_limits_of_its_own_are_set_and_given_back(connection: Connection) -> None:
    """Each limit alone; None is the plan's again; a plan is changed without touching them."""
    key, _ = make(connection)
    assert keys.limit(connection, key.id, None, {"rate_requests": 3, "rate_seconds": 5}).rate_per_second == 0.6
    moved = keys.limit(connection, key.id, "pro", {})
    assert (moved.plan, moved.rate_requests, moved.rate_seconds, moved.burst) == ("pro", 3, 5, 2000)
    back = keys.limit(connection, key.id, None, {"rate_requests": None, "rate_seconds": None, "monthly_quota": 5})
    assert (back.rate_per_second, back.monthly_quota, back.own_limits) == (1000, 5, True)
    with pytest.raises(AbsentError):
        keys.limit(connection, key.id, "gold", {})


def test_a_key_is_suspended_resumed_and_revoked_for_ever(connection: Connection) -> None:
    """The same again is no error and no change; a revoked key stays revoked."""
    key, _ = make(connection)
    active, suspended, revoked = KeyState.ACTIVE, KeyState.SUSPENDED, KeyState.REVOKED
    for state, is_change in ((suspended, True), (suspended, False), (active, True), (revoked, True)):
        found, changed = keys.set_state(connection, key.id, state)
        assert (found.state, changed) == (state.word, is_change)
    assert keys.set_state(connection, key.id, KeyState.REVOKED)[1] is False
    for state in (active, suspended):
        with pytest.raises(RefusedError, match="revoked"):
            keys.set_state(connection, key.id, state)
    with pytest.raises(RefusedError, match="revoked"):
        keys.rotate(connection, key.id, DAY, KEYS_MAX)


def test_every_change_is_told_to_the_nodes_with_the_start_of_its_transaction(database_url: str) -> None:
    """A listener hears of a change when it is committed, and since when to look."""
    with (
        psycopg.connect(database_url, autocommit=True) as listener,
        psycopg.connect(database_url, autocommit=True) as connection,
    ):
        listener.execute("LISTEN access")
        key, _ = make(connection)
        keys.set_state(connection, key.id, KeyState.SUSPENDED)
        payloads = [notify.payload for notify in listener.notifies(timeout=5, stop_after=2)]
        found = connection.execute("SELECT (extract(epoch FROM changed_at) * 1000000)::bigint FROM api_keys").fetchone()
        assert found is not None
        assert [payload.rsplit(" ", 1)[0] for payload in payloads] == ["api_keys INSERT", "api_keys UPDATE"]
        assert int(payloads[-1].split()[-1]) <= found[0]


def test_what_becomes_of_a_key_is_an_event_of_its_account(connection: keys.Connection) -> None:
    """Made, replaced, revoked: once each, in the same transaction, and no secret in it."""
    key, secret = keys.create(connection, NewKey("events", "free"), 1000)
    new, _, new_secret = keys.rotate(connection, key.id, datetime.timedelta(hours=1), 1000)
    for _ in range(2):
        keys.set_state(connection, new.id, KeyState.REVOKED)
    found = [event for event in read_feed(connection, None) if event.account == "events"]
    assert [event.type for event in found] == ["key.revoked", "key.rotated", "key.created"]
    assert [event.data["key"] for event in found] == [new.id, new.id, key.id]
    assert not any(one in str(found) for one in (secret, new_secret))
