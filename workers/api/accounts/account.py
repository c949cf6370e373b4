"""`GET /account`, `GET /key`: who the caller is, what its plan allows, what of it is used, and when it is there again.

Rules: never the key itself. Whoever asks with a key, or is signed in with one, sees that key. Limits are what this
node holds the key to now, out of shared memory, and `used` is their own count where the key has a quota: exact, of this
node, at once. Without a quota nothing is counted there, and it is the ledger's sum over all nodes, some seconds late.
While the database is away only what it is not needed for is told. It costs no month and is answered when that is spent.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, get
from litestar.di import NamedDependency
from psycopg.rows import class_row

from trinity.access.keys import Key
from trinity.clock import NS_PER_SECOND
from trinity.limits import QUOTA_WARNING_PERCENTS
from trinity.store.queries import load
from workers.api.base.callers.admission import Admitted
from workers.api.base.callers.auth import ApiCaller
from workers.api.base.context import Parts
from workers.api.base.problems import DATABASE_ERRORS


class PlanLimits(msgspec.Struct):
    """What a key is held to; null is no limit. In a dry run what would be refused is only counted."""

    requests: int | None
    seconds: int
    burst: int | None
    month: int | None
    dry_run: bool


class MonthUse(msgspec.Struct):
    """The calendar month (UTC) of a key: lookups."""

    used: int
    left: int | None
    resets_at: datetime
    warning_percent: int | None  # the highest of the thresholds that `used` has reached


class AccountReport(msgspec.Struct, omit_defaults=True, kw_only=True):
    """The caller as the service sees it."""

    kind: str
    account_id: int | None = None
    key_id: int | None = None
    name: str | None = None
    account: str | None = None
    plan: str | None = None
    limits: PlanLimits | None = None
    month: MonthUse | None = None
    last_used_at: datetime | None = None
    expires_at: datetime | None = None


@get(["/account", "/key"], tags=["account"])
async def show_account(
    request: Request[Any, Any, Any], caller: NamedDependency[ApiCaller], parts: NamedDependency[Parts]
) -> AccountReport:
    """Who you are to this service (`admin`, `key` or `anonymous`); of a key its plan, limits, use and reset."""
    report = AccountReport(kind=caller.kind, account_id=caller.account_id or None, key_id=caller.key_id or None)
    if caller.kind != "key":
        return report
    admitted: Admitted = request.scope["state"]["admitted"]
    limits = admitted.limits
    report.limits = PlanLimits(
        requests=limits.requests or None,
        seconds=limits.seconds,
        burst=limits.burst if limits.requests else None,
        month=limits.month or None,
        dry_run=limits.dry_run,
    )
    used, ends_ns = parts.admission.month_of(caller.key_id)
    key, lookups = await _from_database(parts, caller.key_id)
    if limits.month or lookups is not None:
        report.month = MonthUse(
            used=used if limits.month else lookups or 0,
            left=max(limits.month - used, 0) if limits.month else None,
            resets_at=datetime.fromtimestamp(ends_ns / NS_PER_SECOND, UTC),
            warning_percent=warning_of(used, limits.month),
        )
    if key is not None:
        report.name, report.account, report.plan = key.name, key.account, key.plan
        report.last_used_at, report.expires_at = key.last_used_at, key.expires_at
    return report


def warning_of(used: int, quota: int) -> int | None:
    """The highest of the thresholds, in percent of the quota, that was reached."""
    return max((percent for percent in QUOTA_WARNING_PERCENTS if 0 < quota * percent <= used * 100), default=None)


async def _from_database(parts: Parts, key_id: int) -> tuple[Key | None, int | None]:
    """The key, and the ledger's lookups of this month; None for what it does not say now."""
    parameters: dict[str, Any] = {"id": key_id, "account": None, "plan": None, "count": 1}
    try:
        async with parts.pool.connection() as connection, connection.cursor(row_factory=class_row(Key)) as cursor:
            key = await (await cursor.execute(load("keys.keys"), parameters)).fetchone()
            row = await (await connection.execute(load("keys.month_of_key"), parameters)).fetchone()
    except DATABASE_ERRORS:
        return None, None
    return key, None if row is None else int(row[0])
