"""API keys in PostgreSQL: made, replaced, limited, suspended, revoked.

Rules: a key is known to nobody but its customer: `new_key` makes it, the caller shows it once, and the database gets
its SHA-256 and the prefix that people recognise it by. Functions work on a connection inside a transaction of their
own and raise typed errors; every change wakes the nodes through the trigger on the table, and one that a customer
should hear of is an event of the account (trinity/push/events.py). A revoked key stays revoked: what was published once
must never work again.
"""

import datetime
import hashlib
import secrets
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg.rows import class_row, dict_row

from trinity.access import accounts
from trinity.errors import AbsentError, InputError, RefusedError
from trinity.push.events import emit
from trinity.store.queries import load
from trinity.vocabulary import KEY_PREFIX_CHARS, KEY_START, KeyState

Connection = psycopg.Connection[Any]

# 256 bits, so that nobody ever guesses one; 43 characters, in all 47 of the 128 that a key may have.
SECRET_BYTES = 32


class Key(msgspec.Struct, frozen=True):
    """One key as the operator sees it; its limits are those that hold. `expired`: its end has come."""

    id: int
    prefix: str
    name: str
    account: str
    plan: str
    state: str  # a word of KeyState, or "expired"
    rate_requests: int  # in `rate_seconds`; 0: no limit
    rate_seconds: int
    rate_per_second: float
    burst: int
    monthly_quota: int
    dry_run: bool
    own_limits: bool
    expires_at: datetime.datetime | None
    replaced_by: int | None
    created_at: datetime.datetime
    changed_at: datetime.datetime
    last_used_at: datetime.datetime | None  # of the requests that the ledger still has one by one
    used: int | None = None  # lookups of this month by the count of the limit; None where it is not at hand


class OwnLimits(NamedTuple):
    """A key's own limits; None is the plan's."""

    rate_requests: int | None = None
    burst: int | None = None
    monthly_quota: int | None = None
    rate_seconds: int | None = None  # of `rate_requests`; left out it is 1


class NewKey(NamedTuple):
    """What a key is made from."""

    account: str
    plan: str
    name: str = ""
    limits: OwnLimits = OwnLimits()
    lifetime: datetime.timedelta | None = None
    language: str | None = None
    email: str | None = None


def new_key() -> str:
    """A key that never existed before."""
    return KEY_START + secrets.token_urlsafe(SECRET_BYTES)


def create(connection: Connection, wanted: NewKey, keys_max: int) -> tuple[Key, str]:
    """Make a key, and its account when there is none of that name; the key itself is in no other place."""
    with connection.transaction():
        account_id = accounts.upsert(connection, wanted.account, wanted.email, wanted.language)
        expires_at = None
        if wanted.lifetime is not None:
            expires_at = datetime.datetime.now(datetime.UTC) + wanted.lifetime
        fields = {
            "account_id": account_id,
            "plan_id": plan_id(connection, wanted.plan),
            "name": wanted.name,
            "state": "active",
            "expires_at": expires_at,
            **wanted.limits._asdict(),
        }
        key, secret = _insert(connection, fields, keys_max)
        emit(connection, account_id, "key.created", _told(key))
        return key, secret


def find(connection: Connection, reference: int | str) -> Key:
    """The one key that `reference` (values.key_reference) names."""
    return _show(connection, _id_of(connection, reference))


def list_keys(connection: Connection, account: str | None, plan: str | None, count: int) -> list[Key]:
    """Up to `count` keys, the newest first."""
    parameters = {"id": None, "account": account, "plan": plan, "count": count}
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        return cursor.execute(load("keys.keys"), parameters).fetchall()


def rotate(
    connection: Connection, reference: int | str, grace: datetime.timedelta, keys_max: int
) -> tuple[Key, Key, str]:
    """Put a new key in the place of an old one, which works for `grace` longer: (new, old, the new key itself)."""
    with connection.transaction():
        old = _lock(connection, reference)
        if old["state"] != "active" or old["is_over"]:
            what = "over" if old["is_over"] else old["state"]
            raise RefusedError(f"key {old['id']}", f"it is {what}: only an active key is rotated")
        if old["replaced_by"] is not None:
            raise RefusedError(f"key {old['id']}", f"it was replaced by key {old['replaced_by']}: rotate that one")
        copied = ("account_id", "plan_id", "name", "state", "expires_at", *OwnLimits._fields)
        new, secret = _insert(connection, {field: old[field] for field in copied}, keys_max)
        change = {"id": old["id"], "replaced_by": new.id, "grace": grace}
        connection.execute(load("keys.replace_key"), change)
        replaced = _show(connection, old["id"])
        told = {"old_key": replaced.id, "old_key_until": replaced.expires_at if grace else None}
        emit(connection, old["account_id"], "key.rotated", _told(new) | told)
        return new, replaced, secret


def limit(connection: Connection, reference: int | str, plan: str | None, changes: dict[str, int | None]) -> Key:
    """Give a key another plan or limits of its own: `changes` has fields of OwnLimits, None for the plan's."""
    with connection.transaction():
        row = _lock(connection, reference)
        fields = {field: changes.get(field, row[field]) for field in OwnLimits._fields}
        fields["plan_id"] = row["plan_id"] if plan is None else plan_id(connection, plan)
        connection.execute(load("keys.set_limits"), {"id": row["id"], **fields})
        return _show(connection, row["id"])


def set_state(connection: Connection, reference: int | str, state: KeyState) -> tuple[Key, bool]:
    """Make a key active, suspended or revoked; the second value says whether that changed anything."""
    with connection.transaction():
        row = _lock(connection, reference)
        if row["state"] == KeyState.REVOKED.word and state != KeyState.REVOKED:
            raise RefusedError(f"key {row['id']}", "it is revoked, and that is forever: create another key")
        if row["is_over"] and state == KeyState.ACTIVE:
            raise RefusedError(f"key {row['id']}", "it is expired, and that is forever: create another key")
        is_change = row["state"] != state.word
        if is_change:
            connection.execute(load("keys.set_state"), {"id": row["id"], "state": state.word})
        key = _show(connection, row["id"])
        if is_change and state == KeyState.REVOKED:
            emit(connection, row["account_id"], "key.revoked", _told(key))
        return key, is_change


def plan_id(connection: Connection, name: str) -> int:
    """The id of a plan; AbsentError when there is none of that name."""
    row = connection.execute(load("keys.plan_id"), {"name": name}).fetchone()
    if row is None:
        raise AbsentError("plan", ascii(name), "`trinity plans list` shows them all")
    return int(row[0])


def _told(key: Key) -> dict[str, Any]:
    """What an account's event says of a key."""
    return {"key": key.id, "prefix": key.prefix, "name": key.name, "plan": key.plan}


def _insert(connection: Connection, fields: dict[str, Any], keys_max: int) -> tuple[Key, str]:
    secret = new_key()
    digest = hashlib.sha256(secret.encode()).digest()
    row = connection.execute(
        load("keys.insert_key"), {**fields, "digest": digest, "prefix": secret[:KEY_PREFIX_CHARS]}
    ).fetchone()
    assert row is not None, "an insert returns its row"
    number = int(row[0])
    if number > keys_max:
        reason = f"the nodes have room for keys up to {keys_max}: set KEYS_MAX higher and start them again"
        raise RefusedError(f"key {number}", reason)
    return msgspec.structs.replace(_show(connection, number), used=0), secret


def _id_of(connection: Connection, reference: int | str) -> int:
    is_number = isinstance(reference, int)
    parameters = {"id": reference if is_number else None, "prefix": None if is_number else reference}
    found = [row[0] for row in connection.execute(load("keys.find_keys"), parameters)]
    if not found:
        raise AbsentError("key", str(reference), "`trinity keys list` shows them by number and prefix")
    if len(found) > 1:
        raise InputError("KEY", f"{reference} fits several keys ({', '.join(map(str, found))} ...): give the number")
    return int(found[0])


def _lock(connection: Connection, reference: int | str) -> dict[str, Any]:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(load("keys.lock_key"), {"id": _id_of(connection, reference)}).fetchone()
    assert row is not None, "a key is never deleted by this program"
    return row


def _show(connection: Connection, number: int) -> Key:
    parameters = {"id": number, "account": None, "plan": None, "count": 1}
    with connection.cursor(row_factory=class_row(Key)) as cursor:
        row = cursor.execute(load("keys.keys"), parameters).fetchone()
    assert row is not None, "a key is never deleted by this program"
    return row
