"""Plans in PostgreSQL: what customers are held to.

Rules: a change of a plan reaches every key that is on it, at once and on all nodes; limits that a key has of its own
stay.
"""

import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg.rows import class_row

from trinity.errors import AbsentError, InputError
from trinity.store.queries import load

Connection = psycopg.Connection[Any]


class Plan(msgspec.Struct, frozen=True):
    """One plan: a rate, lookups a month; 0 is no limit. `dry_run`: what would be refused is only counted.

    `admission_class`: when a worker has more to do than it can, class 0 gives way first and 3 last.
    """

    id: int
    name: str
    rate_requests: int  # in `rate_seconds`
    rate_seconds: int
    rate_per_second: float
    burst: int
    monthly_quota: int
    dry_run: bool
    admission_class: int
    keys: int
    price: Decimal | None = None  # a month, as it holds today; exact, and text in JSON
    currency: str | None = None
    price_since: datetime.date | None = None


class PlanPrice(msgspec.Struct, frozen=True):
    """What a plan costs a month, from a day (UTC) on, until its next price begins."""

    plan: str
    since: datetime.date
    price: Decimal
    currency: str


class PlanChange(NamedTuple):
    """What is to be another; None stays."""

    rate_requests: int | None = None
    burst: int | None = None
    monthly_quota: int | None = None
    dry_run: bool | None = None
    rate_seconds: int | None = None
    admission_class: int | None = None


def list_plans(connection: Connection) -> list[Plan]:
    """All plans with the number of their keys."""
    with connection.cursor(row_factory=class_row(Plan)) as cursor:
        return cursor.execute(load("keys.plans")).fetchall()


def set_plan(connection: Connection, name: str, change: PlanChange) -> tuple[Plan, bool]:
    """Change a plan, or make it; the second value says that it is new."""
    parameters = {"name": name, **change._asdict()}
    with connection.transaction():
        try:
            with connection.transaction():
                is_new = connection.execute(load("keys.set_plan"), parameters).rowcount == 0
                if is_new:
                    _check_complete(name, change)
                    connection.execute(load("keys.insert_plan"), parameters)
        except psycopg.errors.CheckViolation:
            raise InputError("--burst", "a plan with a rate needs a burst of at least 1") from None
        return next(plan for plan in list_plans(connection) if plan.name == name), is_new


def set_price(
    connection: Connection, name: str, price: Decimal, currency: str, since: datetime.date | None
) -> PlanPrice:
    """What a plan costs from a day on, today if none is named; AbsentError."""
    parameters = {"name": name, "price": price, "currency": currency, "since": since}
    row = connection.execute(load("billing.set_price"), parameters).fetchone()
    if row is None:
        raise AbsentError("plan", ascii(name), "`trinity plans list` shows them all")
    return PlanPrice(name, row[0], price, currency)


def _check_complete(name: str, change: PlanChange) -> None:
    options = {"rate_requests": "--rate", "burst": "--burst", "monthly_quota": "--quota"}
    missing = [option for field, option in options.items() if getattr(change, field) is None]
    if missing:
        raise InputError(missing[0], f"{name!a} is a new plan: it needs {', '.join(missing)}")
