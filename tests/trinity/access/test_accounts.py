"""trinity/access/accounts.py, on a real PostgreSQL"""

import threading
from collections.abc import Iterator

import psycopg
import pytest

from trinity.access import accounts, keys
from trinity.access.keys import Connection, NewKey
from trinity.errors import AbsentError, RefusedError
from trinity.vocabulary import KeyState

KEYS_MAX = 100


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    with psycopg.connect(database_url, autocommit=True) as connected:
        yield connected


def _new_key(connection: Connection, account: str) -> keys.Key:
    return keys.create(connection, NewKey(account, "free"), KEYS_MAX)[0]


def test_an_account_is_made_and_changed(connection: Connection) -> None:
    """Language and address stay when they are not given."""
    made = accounts.set_account(connection, "Jürgen & 子", None, "de")
    assert (made.language, made.email, made.keys, made.deleted_at) == ("de", None, 0, None)
    changed = accounts.set_account(connection, "Jürgen & 子", "j@example.org", None)
    assert (changed.id, changed.language, changed.email) == (made.id, "de", "j@example.org")
    assert accounts.set_account(connection, "other", None, None).language == "en"
    assert [account.name for account in accounts.list_accounts(connection)] == ["Jürgen & 子", "other"]


def test_a_renamed_account_keeps_its_keys_and_its_number(connection: Connection) -> None:
    """The number is what ledger and bills name, so the history goes with it; the old name is free again."""
    key = _new_key(connection, "acme")
    before = accounts.find(connection, "acme")
    after = accounts.rename(connection, "acme", "Acme Ltd")
    assert (after.id, after.name, after.keys) == (before.id, "Acme Ltd", 1)
    assert keys.find(connection, key.id).account == "Acme Ltd"
    assert accounts.set_account(connection, "acme", None, None).id != before.id


def test_a_name_is_one_customer(connection: Connection) -> None:
    """Renaming to a name that is taken, or what is not there, is refused and changes nothing."""
    accounts.set_account(connection, "a", None, None)
    accounts.set_account(connection, "b", None, None)
    with pytest.raises(RefusedError, match="account a: there is an account b already"):
        accounts.rename(connection, "a", "b")
    with pytest.raises(AbsentError, match="there is no account 'c'"):
        accounts.rename(connection, "c", "d")
    assert [account.name for account in accounts.list_accounts(connection)] == ["a", "b"]


def test_an_account_with_keys_that_work_is_not_deleted(connection: Connection) -> None:
    """A suspended key counts, because it can be resumed; a revoked or an expired one does not."""
    suspended, revoked, expired = (_new_key(connection, "acme") for _ in range(3))
    keys.set_state(connection, suspended.id, KeyState.SUSPENDED)
    keys.set_state(connection, revoked.id, KeyState.REVOKED)
    connection.execute("UPDATE api_keys SET expires_at = now() - interval '1 s' WHERE id = %s", [expired.id])
    with pytest.raises(RefusedError, match=rf"not revoked \({suspended.id}\): .* --revoke-keys"):
        accounts.delete(connection, "acme", revoke_keys=False)
    assert accounts.find(connection, "acme").deleted_at is None
    keys.set_state(connection, suspended.id, KeyState.REVOKED)
    account, now_revoked = accounts.delete(connection, "acme", revoke_keys=False)
    assert (account.deleted_at is not None, now_revoked) == (True, [])


def test_a_deleted_account_keeps_its_row_and_gets_nothing_more(connection: Connection) -> None:
    """Ledger and bills go on naming it; its address is gone, its keys are revoked, and it is in no ordinary list."""
    key = _new_key(connection, "acme")
    accounts.set_account(connection, "acme", "a@example.org", None)
    account, revoked = accounts.delete(connection, "acme", revoke_keys=True)
    assert (revoked, account.email, account.keys) == ([key.id], None, 1)
    assert keys.find(connection, key.id).state == "revoked"
    assert keys.find(connection, key.id).account == "acme"
    assert accounts.list_accounts(connection) == []
    assert accounts.list_accounts(connection, with_deleted=True) == [account]
    for act in (
        lambda: _new_key(connection, "acme"),
        lambda: accounts.set_account(connection, "acme", None, "de"),
        lambda: accounts.delete(connection, "acme", revoke_keys=True),
    ):
        with pytest.raises(RefusedError, match="account acme: it was deleted"):
            act()
    accounts.rename(connection, "acme", "acme (until 2026)")
    assert _new_key(connection, "acme").account == "acme", "the name is free once the deleted one has another"


def test_no_key_slips_into_an_account_that_is_being_deleted(connection: Connection, database_url: str) -> None:
    """A key that is made at the same time waits for the deletion, and is refused."""
    accounts.set_account(connection, "acme", None, None)
    refused: list[str] = []

    def make_key() -> None:
        with psycopg.connect(database_url, autocommit=True) as other:
            try:
                _new_key(other, "acme")
            except RefusedError as error:
                refused.append(str(error))

    maker = threading.Thread(target=make_key)
    with connection.transaction():
        accounts.delete(connection, "acme", revoke_keys=False)
        maker.start()
        maker.join(0.2)
        assert maker.is_alive(), "it waits for the row"
    maker.join(10)
    assert refused
    assert refused[0].startswith("account acme: it was deleted")
