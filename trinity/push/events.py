"""Events of an account and alarms of a node: told once, in the transaction of what they tell of.

    with connection.transaction():
        ...                                                   the effect
        emit(connection, account_id, "key.created", {...})    the event, and a delivery for each endpoint that wants it

Rules
- No event without its effect, and no effect without its event: `emit` writes on the caller's connection and begins no
  transaction of its own. Its uid is the `webhook-id` of every try. Where several nodes may see the same thing, `once`
  names it, and whoever comes second tells nothing.
- Types are a closed table. Data are JSON without secrets: they go to the customer's endpoint, and stand in the feed.
- An event is durable until it is over age (EVENT_DAYS). Its delivery is at least once, always with the same id: a
  receiver that remembers ids handles each once. This module posts nothing: workers/push/events/ does.
"""

import datetime
import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from trinity.errors import BugError, InputError
from trinity.store.queries import load

Connection = psycopg.Connection[Any]


class EventType(NamedTuple):
    """What kind of thing happened; `is_mailed`: the owner also gets a mail."""

    name: str
    text: str
    is_mailed: bool = False
    is_operators: bool = False


EVENT_TYPES = (
    EventType("subscription.failing", "deliveries of a subscription fail"),
    EventType("subscription.recovered", "deliveries of a subscription arrive again"),
    EventType(
        "subscription.disabled", "a subscription was given up; resume it when its receiver works", is_mailed=True
    ),
    EventType("endpoint.disabled", "an endpoint for events was given up; resume it when it works", is_mailed=True),
    EventType("event.exhausted", "an event was tried for three days and did not arrive at an endpoint"),
    EventType("key.quota_warning", "a key has used most or all of its month"),
    EventType("key.created", "an API key was made"),
    EventType("key.rotated", "an API key was replaced by another"),
    EventType("key.revoked", "an API key is refused from now on"),
    EventType("endpoint.test", "somebody asked for a test of an endpoint"),
    EventType("node.feed_lost", "a node gets no prices from an exchange", is_operators=True),
    EventType("node.feed_recovered", "a node gets prices from an exchange again", is_operators=True),
    EventType("node.prices_lost", "a node has no price to give for most of its assets", is_operators=True),
    EventType("node.prices_recovered", "a node gives prices again", is_operators=True),
    EventType("node.capacity_lost", "a node has more requests than it can answer, and refuses some", is_operators=True),
    EventType("node.capacity_recovered", "a node answers all requests again", is_operators=True),
    EventType("node.limits_lost", "a node hears of no other and gives its share of each plan alone", is_operators=True),
    EventType("node.limits_recovered", "a node shares the plans' limits with the others again", is_operators=True),
    EventType("node.cache_lost", "a node is alone: Valkey is away or full", is_operators=True),
    EventType("node.cache_recovered", "a node shares with the others again", is_operators=True),
)
_BY_NAME = {kind.name: kind for kind in EVENT_TYPES}

# As long as candles and single requests: a customer who comes back after a quarter finds why.
EVENT_DAYS = 93
# 144 random bits: no two are ever the same. A point must not be in it (Standard Webhooks).
_UID_START, _UID_BYTES = "msg_", 18


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that happened; `uid` is the webhook-id under which it is posted."""

    id: int
    uid: str
    type: str
    occurred_at: datetime.datetime
    data: dict[str, Any]
    account: str | None = None  # None: the operator's


def emit(
    connection: Connection, account_id: int | None, event_type: str, data: Mapping[str, Any], *, once: str = ""
) -> str:
    """Tell of something inside the caller's transaction; its uid. `once` names the thing: told before, it stays so."""
    if event_type not in _BY_NAME:
        raise BugError(f"there is no event {event_type!r}: EVENT_TYPES in trinity/push/events.py has them all")
    return _insert(connection, account_id, event_type, data, once)


def emit_test(connection: Connection, account_id: int | None, endpoint_id: int, data: Mapping[str, Any]) -> str:
    """A test for one endpoint alone; its uid."""
    return _insert(connection, account_id, "endpoint.test", data, "", endpoint_id)


def read_feed(
    connection: Connection,
    account_id: int | None,
    types: Sequence[str] = (),
    before_id: int | None = None,
    count: int = 50,
) -> list[Event]:
    """Up to `count` events of an account, the newest first; None: of all accounts and nodes, for the operator."""
    with connection.cursor(row_factory=class_row(Event)) as cursor:
        return cursor.execute(load("events.feed"), feed_parameters(account_id, types, before_id, count)).fetchall()


def feed_parameters(account_id: int | None, types: Sequence[str], before_id: int | None, count: int) -> dict[str, Any]:
    """What the feed's statement is asked with."""
    wanted = list(types) or None
    return {
        "all": account_id is None,
        "account_id": account_id,
        "types": wanted,
        "before_id": before_id,
        "count": count,
    }


def read_types(field: str, names: Sequence[str]) -> list[str]:
    """The types that a filter names; InputError. `subscription.*` stands for all that begin so."""
    found: list[str] = []
    for name in names:
        matching = [kind.name for kind in EVENT_TYPES if _fits(name, kind.name)]
        if not matching:
            raise InputError(field, f"{name!a} is no type of event: {', '.join(_BY_NAME)}")
        found += [match for match in matching if match not in found]
    return found


def body_of(event_type: str, occurred_at: datetime.datetime, data: Mapping[str, Any]) -> bytes:
    """What is posted of an event: the same bytes on every try."""
    told = occurred_at.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode({"type": event_type, "timestamp": told, "data": data})


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith(".*") else name == pattern


def _insert(
    connection: Connection, account_id: int | None, event_type: str, data: Mapping[str, Any], once: str,
    endpoint_id: int | None = None,
) -> str:  # fmt: skip
    if once:
        uid = _UID_START + hashlib.sha256(f"{event_type} {account_id} {once}".encode()).hexdigest()[: _UID_BYTES * 2]
    else:
        uid = _UID_START + secrets.token_hex(_UID_BYTES)
    parameters = {
        "uid": uid,
        "account_id": account_id,
        "type": event_type,
        "data": Jsonb(dict(data), dumps=msgspec.json.encode),
        "is_mailed": _BY_NAME[event_type].is_mailed,
        "endpoint_id": endpoint_id,
    }
    connection.execute(load("events.emit"), parameters)
    return uid
