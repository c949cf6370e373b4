"""Who changed what of who may ask, in PostgreSQL: said before a change, read afterwards.

    with acting(connection, Actor("alice", "command"), "keys revoke"):
        keys.set_state(connection, 7, KeyState.REVOKED)

Rules: triggers of the tables write it, in the transaction of the change: there is no change without its entry, and no
entry of what was not done. A key's digest is in none. What changed nothing has none either.
"""

import contextlib
import datetime
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import msgspec
import psycopg
from psycopg.rows import class_row

from trinity.store.queries import load

Connection = psycopg.Connection[Any]
Via = Literal["command", "page", "api"]


class Actor(NamedTuple):
    """Who acts: a login's name, `admin` for ADMIN_KEY, or a user of the machine; an address only over the network."""

    name: str
    via: Via
    address: str = ""


class AuditEntry(msgspec.Struct, frozen=True):
    """One thing that was changed: `before` and `after` have the fields that did; null for what was not there."""

    id: int
    time: datetime.datetime
    actor: str
    via: Via
    address: str | None
    action: str
    kind: str
    name: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class Wanted(NamedTuple):
    """Which entries; None selects all."""

    actor: str | None = None
    kind: str | None = None
    name: str | None = None
    before_id: int | None = None


@contextlib.contextmanager
def acting(connection: Connection, actor: Actor, action: str) -> Iterator[None]:
    """A transaction whose changes are written down as this actor's."""
    with connection.transaction():
        said = {"actor": actor.name, "via": actor.via, "address": actor.address, "action": action}
        connection.execute(load("audit.act_as"), said)
        yield


def list_entries(connection: Connection, wanted: Wanted, count: int) -> list[AuditEntry]:
    """Up to `count` entries, the newest first."""
    with connection.cursor(row_factory=class_row(AuditEntry)) as cursor:
        return cursor.execute(load("audit.entries"), {**wanted._asdict(), "count": count}).fetchall()
