"""Subscriptions in PostgreSQL: made, found, changed, paused, given another secret, deleted; what changed since.

Rules: values were checked before (subscription.py, secret.py). `account_id` None is the operator, who may touch every
subscription; a customer is told of another's that there is none. Functions work on a connection inside a transaction of
their own and raise typed errors. All changes of subscriptions are made one after the other (0010-push.sql), so that
`changed_since` never misses one and the bounds are exact. A deleted one stays, for the log that names it.
"""

import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.rows import kwargs_row

from trinity.errors import AbsentError, RefusedError
from trinity.limits import SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_ACCOUNT_MAX
from trinity.push.subscription import (
    Subscription,
    SubscriptionChange,
    SubscriptionDraft,
    SubscriptionReport,
    check_triggers,
)
from trinity.store.queries import load

Connection = psycopg.Connection[Any]


def create(
    connection: Connection, draft: SubscriptionDraft, account: int | str, key_id: int | None, secret: str
) -> Subscription:
    """Make a subscription of the account of this number or name; `key_id` None: the operator made it."""
    with connection.transaction():
        account_id = _lock_account(connection, account)
        connection.execute(load("push.lock"))
        row = connection.execute(load("push.count"), {"account_id": account_id}).fetchone()
        assert row is not None
        if row[1] >= SUBSCRIPTIONS_PER_ACCOUNT_MAX:
            reason = f"this account has {row[1]}, as many as there may be: delete one, or change it"
            raise RefusedError("subscription", reason)
        if row[0] >= SUBSCRIPTIONS_MAX:
            raise RefusedError("subscription", f"all {row[0]} places are taken: ask the operator")
        fields = msgspec.structs.asdict(draft) | {"account_id": account_id, "key_id": key_id, "secret": secret}
        made = connection.execute(load("push.insert"), _for_sql(fields)).fetchone()
        assert made is not None
        return find(connection, made[0], account_id)


def find(connection: Connection, number: int, account_id: int | None) -> Subscription:
    """The subscription of this number; AbsentError."""
    with connection.cursor(row_factory=kwargs_row(_subscription)) as cursor:
        found = cursor.execute(load("push.find"), {"id": number, "account_id": account_id}).fetchone()
    if found is None:
        raise absent(number)
    return found


def list_for(
    connection: Connection, account_id: int | None, after: int, count: int, account: str | None = None
) -> list[SubscriptionReport]:
    """Up to `count` subscriptions with a number above `after`, in order; for the operator also those of one account."""
    parameters = report_parameters(account_id, after=after, count=count, account=account)
    with connection.cursor(row_factory=kwargs_row(report)) as cursor:
        return cursor.execute(load("push.reports"), parameters).fetchall()


def show(connection: Connection, number: int, account_id: int | None) -> SubscriptionReport:
    """One subscription as people see it; AbsentError."""
    parameters = report_parameters(account_id, number=number)
    with connection.cursor(row_factory=kwargs_row(report)) as cursor:
        found = cursor.execute(load("push.reports"), parameters).fetchone()
    if found is None:
        raise absent(number)
    return found


def change(connection: Connection, number: int, account_id: int | None, wanted: SubscriptionChange) -> Subscription:
    """Make some of its fields others; a receiver that is another one counts as well until it fails."""
    with connection.transaction():
        found = _lock(connection, number, account_id)
        given = {field: value for field, value in msgspec.structs.asdict(wanted).items() if value is not None}
        changed = msgspec.structs.replace(found, **given)
        check_triggers(changed)
        connection.execute(load("push.change"), _for_sql(msgspec.structs.asdict(changed)))
        if changed.target != found.target:
            connection.execute(load("push.forget_failures"), {"id": number})
        return find(connection, number, account_id)


def pause(connection: Connection, number: int, account_id: int | None) -> tuple[Subscription, bool]:
    """Send nothing until it is resumed; the second value says whether that changed anything."""
    with connection.transaction():
        found = _lock(connection, number, account_id)
        if found.state == "disabled":
            raise RefusedError(f"subscription {number}", "it is disabled, so nothing is sent: resume or delete it")
        return _set_state(connection, found, "paused")


def resume(connection: Connection, number: int, account_id: int | None) -> tuple[Subscription, bool]:
    """Send again, also what was disabled: its receiver counts as well until it fails again."""
    with connection.transaction():
        found = _lock(connection, number, account_id)
        connection.execute(load("push.forget_failures"), {"id": number})
        return _set_state(connection, found, "active")


def disable(connection: Connection, number: int, revision: int, reason: str) -> bool:
    """Give up its receiver; False where there is nothing to give up (it was changed, or deleted, meanwhile)."""
    with connection.transaction():
        try:
            found = _lock(connection, number, None)
        except AbsentError:
            return False
        is_meant = found.state == "active" and found.revision == revision
        return is_meant and _set_state(connection, found, "disabled", reason)[1]


def delete(connection: Connection, number: int, account_id: int | None) -> Subscription:
    """End it for good; as it was."""
    with connection.transaction():
        found = _lock(connection, number, account_id)
        connection.execute(load("push.delete"), {"id": number})
        return found


def rotate(
    connection: Connection, number: int, account_id: int | None, grace: datetime.timedelta, secret: str
) -> Subscription:
    """Give it another secret; the one before signs as well for `grace` longer, and the one before that no more."""
    with connection.transaction():
        found = _lock(connection, number, account_id)
        if found.secret == secret:
            raise RefusedError(f"subscription {number}", "this is the secret that it has: give another one")
        connection.execute(load("push.rotate"), {"id": number, "grace": grace, "secret": secret})
        return find(connection, number, account_id)


def changed_since(connection: Connection, revision: int) -> tuple[list[Subscription], int]:
    """All that changed after this revision, deleted ones as well, and the revision to ask with next; 0 is the start."""
    with connection.cursor(row_factory=kwargs_row(_subscription)) as cursor:
        found = cursor.execute(load("push.changed_since"), {"revision": revision}).fetchall()
    return found, found[-1].revision if found else revision


def report_parameters(
    account_id: int | None, *, number: int | None = None, after: int = 0, count: int = 1, account: str | None = None
) -> dict[str, Any]:
    """What `push.reports` is given."""
    return {"account_id": account_id, "id": number, "after": after, "count": count, "account": account}


def report(**fields: Any) -> SubscriptionReport:
    """A row of `push.reports`."""
    fields["assets"] = tuple(fields["assets"])
    return SubscriptionReport(**fields)


def absent(number: int) -> AbsentError:
    return AbsentError("subscription", str(number), "`trinity push list` shows them")


def _subscription(**fields: Any) -> Subscription:
    fields["assets"] = tuple(fields["assets"])
    return Subscription(**fields)


def _lock_account(connection: Connection, account: int | str) -> int:
    by_number = isinstance(account, int)
    parameters = {"id": account if by_number else None, "name": None if by_number else account}
    row = connection.execute(load("push.lock_account"), parameters).fetchone()
    if row is None:
        raise AbsentError("account", ascii(account), "`trinity accounts list` shows them")
    return int(row[0])


def _lock(connection: Connection, number: int, account_id: int | None) -> Subscription:
    """The subscription, which nobody else changes until the end of the transaction."""
    connection.execute(load("push.lock"))
    return find(connection, number, account_id)


def _set_state(
    connection: Connection, found: Subscription, state: str, reason: str | None = None
) -> tuple[Subscription, bool]:
    if found.state == state:
        return found, False
    connection.execute(load("push.set_state"), {"id": found.id, "state": state, "reason": reason})
    return find(connection, found.id, None), True


def _for_sql(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"assets": list(fields["assets"])}
