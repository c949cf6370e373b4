"""Logins in PostgreSQL: people who sign in on the dashboard without holding ADMIN_KEY.

    billing     reads reports, bills, accounts and plans, and nothing else
    operator    may what ADMIN_KEY may

Rules: a login is known by its name and a secret that is made here and shown once; the database gets its SHA-256. A
revoked one stays revoked, and its name is not given to anybody else: the audit names people by it.
"""

import datetime
import hashlib
import secrets
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

from trinity.errors import AbsentError, RefusedError
from trinity.store.queries import load
from trinity.vocabulary import LOGIN_START

Connection = psycopg.Connection[Any]

# As of a key: 256 bits, never guessed.
SECRET_BYTES = 32


class PersonLogin(msgspec.Struct, frozen=True):
    """One login, without its secret."""

    id: int
    name: str
    role: str
    created_at: datetime.datetime
    revoked_at: datetime.datetime | None


def create(connection: Connection, name: str, role: str) -> tuple[PersonLogin, str]:
    """Make a login; its secret is in no other place."""
    secret = LOGIN_START + secrets.token_urlsafe(SECRET_BYTES)
    parameters = {"name": name, "role": role, "digest": hashlib.sha256(secret.encode()).digest()}
    if connection.execute(load("logins.create"), parameters).fetchone() is None:
        raise RefusedError(f"login {name!a}", "there is one of this name, or was: take another name")
    return find(connection, name), secret


def list_logins(connection: Connection) -> list[PersonLogin]:
    """All of them, the revoked ones too."""
    with connection.cursor(row_factory=class_row(PersonLogin)) as cursor:
        return cursor.execute(load("logins.list")).fetchall()


def find(connection: Connection, name: str) -> PersonLogin:
    """The one of this name; AbsentError."""
    found = next((login for login in list_logins(connection) if login.name == name), None)
    if found is None:
        raise AbsentError("login", ascii(name), "`trinity logins list` shows them all")
    return found


def revoke(connection: Connection, name: str) -> tuple[PersonLogin, bool]:
    """End a login and its sessions; the second value is False when it was so before."""
    find(connection, name)
    is_change = connection.execute(load("logins.revoke"), {"name": name}).rowcount > 0
    return find(connection, name), is_change
