"""Orders: a test message or a replay that somebody asked for, put down in PostgreSQL and carried out once by a pusher.

    create   by the API or the command line: the order waits
    take     by the pusher that serves the subscription's shard: the order runs; nobody else takes it
    finish   by the same one, with what came of it

Rules: an order is carried out at most once: a node that dies over one leaves it running, and once it is over age it is
told as failed; whoever asked asks again. What a price was then is worth nothing now: a replay of one delivery sends the
prices of now, with a new sequence and `replay_of`. What is asked for is bounded here (REPLAY_HOURS_MAX).
"""

import datetime
import uuid
from typing import Any, Literal, NamedTuple

import msgspec
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from trinity.errors import AbsentError, BugError, InputError, RefusedError
from trinity.store.queries import load

Connection = psycopg.Connection[Any]
Kind = Literal["test", "replay", "replay_since"]
State = Literal["waiting", "running", "done", "failed"]

# Minute closes are kept longer, but who was away for more than a day asks the history for a file.
REPLAY_HOURS_MAX = 24
# Somebody who presses a button again and again is told so.
ORDERS_OF_SUBSCRIPTION_MAX = 3
# An order is for now: a pusher takes it within a second, or there is none. A replay of a day is paced over minutes.
_LIFETIMES: dict[Kind, datetime.timedelta] = {
    "test": datetime.timedelta(minutes=2),
    "replay": datetime.timedelta(minutes=2),
    "replay_since": datetime.timedelta(minutes=30),
}


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """One order and what came of it."""

    id: uuid.UUID
    subscription_id: int
    kind: Kind
    state: State
    created_at: datetime.datetime
    argument: dict[str, Any]
    result: dict[str, Any] | None = None


class Taken(NamedTuple):
    """An order that this node carries out."""

    id: uuid.UUID
    subscription_id: int
    kind: Kind
    argument: dict[str, Any]


def create_order(connection: Connection, subscription_id: int, kind: Kind, argument: dict[str, Any]) -> Order:
    """Put an order down inside the caller's transaction, and wake the pushers."""
    if kind not in _LIFETIMES:
        raise BugError(f"there is no order {kind!r}")
    parameters: dict[str, Any] = {
        "id": uuid.uuid4(), "subscription_id": subscription_id, "kind": kind, "argument": Jsonb(argument),
        "lifetime": _LIFETIMES[kind], "most": ORDERS_OF_SUBSCRIPTION_MAX,
    }  # fmt: skip
    if connection.execute(load("orders.create"), parameters).rowcount == 0:
        reason = f"{ORDERS_OF_SUBSCRIPTION_MAX} orders of it are under way: wait for them"
        raise RefusedError(f"subscription {subscription_id}", reason)
    return read_order(connection, parameters["id"], subscription_id)


def read_order(connection: Connection, order_id: uuid.UUID, subscription_id: int) -> Order:
    """The order of this subscription as it is now; AbsentError."""
    parameters = {"id": order_id, "subscription_id": subscription_id}
    with connection.cursor(row_factory=class_row(Order)) as cursor:
        found = cursor.execute(load("orders.find"), parameters).fetchone()
    if found is None:
        raise AbsentError("order", str(order_id), "it is kept for a day")
    return found


def since(field: str, moment: datetime.datetime, now: datetime.datetime) -> dict[str, Any]:
    """The argument of `replay_since`; InputError for what is too long ago, or not yet."""
    if moment.tzinfo is None:
        raise InputError(field, "say its time zone, as in 2026-01-01T00:00:00Z")
    if moment > now:
        raise InputError(field, "it lies ahead")
    if now - moment > datetime.timedelta(hours=REPLAY_HOURS_MAX):
        raise InputError(field, f"at most {REPLAY_HOURS_MAX} h ago: older prices are in the history")
    return {"since": moment.astimezone(datetime.UTC).isoformat()}


def take(connection: Connection, node_id: int, shards: list[int], count: int) -> list[Taken]:
    """Up to `count` orders of these shards, for this node alone from now on."""
    parameters = {"node": node_id, "shards": shards, "count": count}
    return [Taken(*row) for row in connection.execute(load("orders.take"), parameters)]


def finish(connection: Connection, order_id: uuid.UUID, is_done: bool, result: dict[str, Any]) -> None:
    """What came of an order that was taken."""
    parameters = {"id": order_id, "state": "done" if is_done else "failed", "result": Jsonb(result)}
    connection.execute(load("orders.finish"), parameters)
