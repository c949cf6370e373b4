"""Endpoints: where an account wants its events, or the operator the nodes' alarms.

Rules: HTTPS only. Functions work on a connection inside a transaction of their own, see one account's endpoints (None:
all, for the operator, who makes those of the nodes), and raise typed errors that name the field. Whoever calls has
checked the address of the URL (resolve.py) before. The secret is in the answer that made it, and readable again by its
account: events are signed with it, so it is kept as it is.
"""

import datetime
import os
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import psycopg
from psycopg.rows import class_row

from trinity.errors import AbsentError, InputError, RefusedError
from trinity.push import events
from trinity.push.secret import make_secret
from trinity.push.targets import parse_target
from trinity.store.queries import load

Connection = psycopg.Connection[Any]

# An account has one for its alarms, one for its books, one for each of its teams.
ENDPOINTS_PER_ACCOUNT_MAX = 20
_AGO = re.compile(r"([1-9][0-9]{0,4})([smhdw])")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """One endpoint; `types` empty: all events. Its secrets are not in it."""

    id: int
    url: str
    types: list[str]
    state: str
    created_at: datetime.datetime
    changed_at: datetime.datetime
    name: str = ""
    account: str | None = None
    waiting: int = 0  # events on their way
    disabled_reason: str | None = None
    disabled_at: datetime.datetime | None = None
    failing_since: datetime.datetime | None = None
    failures: int = 0
    last_success_at: datetime.datetime | None = None
    last_failure_at: datetime.datetime | None = None
    last_status: int | None = None
    last_error: str | None = None
    old_secret_until: datetime.datetime | None = None


class EventDelivery(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event's way to one endpoint."""

    event: str
    type: str
    occurred_at: datetime.datetime
    state: str
    attempts: int
    next_at: datetime.datetime | None = None
    last_attempt_at: datetime.datetime | None = None
    last_status: int | None = None
    last_error: str | None = None


class EndpointDraft(msgspec.Struct, frozen=True):
    """What an endpoint is made from; `read_draft` makes a good one."""

    url: str
    types: list[str]
    name: str = ""


def read_draft(url: str, types: Sequence[str] = (), name: str = "") -> EndpointDraft:
    """A draft whose URL is a target and whose types there are; InputError."""
    return EndpointDraft(read_url(url), events.read_types("types", types), name)


def read_url(url: str) -> str:
    """The URL of an endpoint; InputError."""
    if not url.lower().startswith("https://"):
        raise InputError("url", "events go to https:// only")
    try:
        return str(parse_target(url))
    except InputError as error:
        raise InputError("url", error.reason) from None


def read_since(field: str, text: str, now: datetime.datetime) -> datetime.datetime:
    """A moment (ISO 8601 with its zone), or how long ago (24h); InputError."""
    match = _AGO.fullmatch(text)
    if match:
        return now - datetime.timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InputError(field, f"{text!a} is neither how long ago (24h, 7d) nor a moment (2026-01-01T00:00:00Z)")
    if moment > now:
        raise InputError(field, "it lies ahead")
    return moment.astimezone(datetime.UTC)


def absent(endpoint_id: int) -> AbsentError:
    return AbsentError("endpoint", str(endpoint_id), "`trinity endpoints list` shows them")


def create(connection: Connection, account_id: int | None, draft: EndpointDraft) -> tuple[Endpoint, str]:
    """Make an endpoint; the second value is its secret."""
    secret = make_secret(os.urandom)
    with connection.transaction():
        parameters = {**msgspec.structs.asdict(draft), "account_id": account_id, "secret": secret}
        parameters["most"] = ENDPOINTS_PER_ACCOUNT_MAX
        connection.execute(load("endpoints.lock"), parameters)
        row = connection.execute(load("endpoints.insert"), parameters).fetchone()
        if row is None:
            reason = f"there are {ENDPOINTS_PER_ACCOUNT_MAX} already, no account has more: delete one first"
            raise RefusedError("endpoints", reason)
        return find(connection, row[0], account_id), secret


def list_endpoints(connection: Connection, account_id: int | None) -> list[Endpoint]:
    """The endpoints of an account, the newest first."""
    return _select(connection, None, account_id)


def find(connection: Connection, endpoint_id: int, account_id: int | None) -> Endpoint:
    """One endpoint; AbsentError, also for another account's."""
    found = _select(connection, endpoint_id, account_id)
    if not found:
        raise absent(endpoint_id)
    return found[0]


def change(connection: Connection, endpoint_id: int, account_id: int | None, changes: dict[str, Any]) -> Endpoint:
    """Another `url`, `types` or `name`; what is left out stays."""
    with connection.transaction():
        find(connection, endpoint_id, account_id)
        given = {"url": changes.get("url"), "types": changes.get("types"), "name": changes.get("name")}
        connection.execute(load("endpoints.change"), {**given, "id": endpoint_id})
        return find(connection, endpoint_id, account_id)


def set_state(connection: Connection, endpoint_id: int, account_id: int | None, state: str) -> Endpoint:
    """Pause, or resume: also from disabled, with a clean slate."""
    with connection.transaction():
        find(connection, endpoint_id, account_id)
        connection.execute(load("endpoints.set_state"), {"id": endpoint_id, "state": state})
        return find(connection, endpoint_id, account_id)


def delete(connection: Connection, endpoint_id: int, account_id: int | None) -> Endpoint:
    """End an endpoint for good, and what waits for it."""
    with connection.transaction():
        found = find(connection, endpoint_id, account_id)
        connection.execute(load("endpoints.delete"), {"id": endpoint_id})
        connection.execute(load("events.give_up"), {"endpoint_id": endpoint_id})
        return found


def rotate(
    connection: Connection, endpoint_id: int, account_id: int | None, grace: datetime.timedelta
) -> tuple[Endpoint, str]:
    """A new secret; the old one signs as well for `grace` longer."""
    secret = make_secret(os.urandom)
    with connection.transaction():
        find(connection, endpoint_id, account_id)
        connection.execute(load("endpoints.rotate"), {"id": endpoint_id, "secret": secret, "grace": grace})
        return find(connection, endpoint_id, account_id), secret


def send_test(connection: Connection, endpoint_id: int, account_id: int | None) -> str:
    """Put a test event down for this endpoint alone; its uid, under which its fate is found."""
    with connection.transaction():
        found = find(connection, endpoint_id, account_id)
        if found.state != "active":
            raise RefusedError(f"endpoint {endpoint_id}", f"it is {found.state}: resume it first")
        owner = connection.execute(load("endpoints.owner"), {"id": endpoint_id}).fetchone()
        assert owner is not None, "it was found a moment ago, in this transaction"
        return events.emit_test(connection, owner[0], endpoint_id, {"endpoint": endpoint_id})


def list_deliveries(
    connection: Connection, endpoint_id: int, account_id: int | None, count: int
) -> list[EventDelivery]:
    """Up to `count` events of an endpoint and what became of them, the newest first."""
    find(connection, endpoint_id, account_id)
    with connection.cursor(row_factory=class_row(EventDelivery)) as cursor:
        return cursor.execute(load("endpoints.deliveries"), {"id": endpoint_id, "count": count}).fetchall()


def replay(
    connection: Connection, endpoint_id: int, account_id: int | None, *, uid: str | None = None,
    since: datetime.datetime | None = None,
) -> int:  # fmt: skip
    """Queue one event again, whatever became of it, or all that failed since; same bodies, same ids. How many."""
    with connection.transaction():
        found = find(connection, endpoint_id, account_id)
        if found.state == "disabled":
            raise RefusedError(f"endpoint {endpoint_id}", "it is disabled: resume it first")
        parameters = {"id": endpoint_id, "uid": uid, "since": since}
        count = connection.execute(load("endpoints.replay"), parameters).rowcount
        if uid is not None and count == 0:
            raise AbsentError("event", ascii(uid), "the endpoint's deliveries name them")
        if count:
            connection.execute("SELECT pg_notify('push_events', '')")
        return count


def _select(connection: Connection, endpoint_id: int | None, account_id: int | None) -> list[Endpoint]:
    parameters = {"id": endpoint_id, "account_id": account_id}
    with connection.cursor(row_factory=class_row(Endpoint)) as cursor:
        return cursor.execute(load("endpoints.endpoints"), parameters).fetchall()
