"""Accounts in PostgreSQL: who the customers are.

Rules: an account comes into being with its first key, or by itself. One that is deleted keeps its row and its name,
because ledger and bills name it forever; it loses its e-mail address, has no key that works, and gets none. Its name
is free for another customer once it has been renamed itself. Functions work on a connection inside a transaction of
their own and raise typed errors.
"""

import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

from trinity.errors import AbsentError, RefusedError
from trinity.push.events import emit
from trinity.store.queries import load

Connection = psycopg.Connection[Any]


class Account(msgspec.Struct, frozen=True):
    """One customer; `language` is what they prefer to read."""

    id: int
    name: str
    email: str | None
    language: str
    keys: int  # all that there ever were
    created_at: datetime.datetime
    deleted_at: datetime.datetime | None


def list_accounts(connection: Connection, with_deleted: bool = False) -> list[Account]:
    """All accounts with the number of their keys, the oldest first."""
    return _select(connection, None, with_deleted)


def find(connection: Connection, name: str) -> Account:
    """The account of this name, also a deleted one."""
    found = _select(connection, name, with_deleted=True)
    if not found:
        raise _absent(name)
    return found[0]


def upsert(connection: Connection, name: str, email: str | None, language: str | None) -> int:
    """The id of an account, which is made where there is none of this name; None leaves what is there."""
    parameters = {"name": name, "email": email, "language": language}
    row = connection.execute(load("accounts.upsert"), parameters).fetchone()
    if row is None:
        reason = "it was deleted: give the new customer another name, or rename the deleted account first"
        raise RefusedError(f"account {name}", reason)
    return int(row[0])


def set_account(connection: Connection, name: str, email: str | None, language: str | None) -> Account:
    """Change an account, or make it; None stays."""
    with connection.transaction():
        upsert(connection, name, email, language)
        return find(connection, name)


def rename(connection: Connection, name: str, new_name: str) -> Account:
    """Give an account, also a deleted one, another name: its keys, ledger and bills go with it."""
    with connection.transaction():
        number, _ = _lock(connection, name)
        try:
            with connection.transaction():
                connection.execute(load("accounts.rename"), {"id": number, "name": new_name})
        except psycopg.errors.UniqueViolation:
            reason = f"there is an account {new_name} already, and one name is one customer: choose another"
            raise RefusedError(f"account {name}", reason) from None
        return find(connection, new_name)


def live_keys(connection: Connection, number: int) -> list[int]:
    """The ids of an account's keys that work, or can be resumed."""
    return [row[0] for row in connection.execute(load("accounts.live_keys"), {"id": number})]


def delete(connection: Connection, name: str, revoke_keys: bool) -> tuple[Account, list[int]]:
    """End an account, and with `revoke_keys` its keys first: the account, and the keys that were revoked."""
    with connection.transaction():
        number, deleted_at = _lock(connection, name)
        if deleted_at is not None:
            raise RefusedError(f"account {name}", f"it was deleted before, on {deleted_at:%Y-%m-%d}")
        live = live_keys(connection, number)
        if live and not revoke_keys:
            ids = ", ".join(map(str, live[:10])) + (" ..." if len(live) > 10 else "")
            reason = f"it has keys that are not revoked ({ids}): revoke them first, or all at once with --revoke-keys"
            raise RefusedError(f"account {name}", reason)
        connection.execute(load("accounts.revoke_keys"), {"ids": live})
        for key_id in live:
            emit(connection, number, "key.revoked", {"key": key_id})
        connection.execute(load("accounts.delete"), {"id": number})
        return find(connection, name), live


def _select(connection: Connection, name: str | None, with_deleted: bool) -> list[Account]:
    with connection.cursor(row_factory=class_row(Account)) as cursor:
        return cursor.execute(load("accounts.accounts"), {"name": name, "with_deleted": with_deleted}).fetchall()


def _lock(connection: Connection, name: str) -> tuple[int, datetime.datetime | None]:
    """The account's row, held to the end of the transaction: no key is made for it meanwhile."""
    row = connection.execute(load("accounts.lock"), {"name": name}).fetchone()
    if row is None:
        raise _absent(name)
    return row[0], row[1]


def _absent(name: str) -> AbsentError:
    return AbsentError("account", ascii(name), "`trinity accounts list --all` shows them")
