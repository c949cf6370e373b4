"""`GET /account`, `GET /key`: who the caller is, what its plan allows, what of it is used, and when it is there again.

Rules: never the key itself. Whoever asks with a key, or is signed in with one, sees that key. `used` is the limit's own
count where the key has a quota: exact, of this node, at once. Without a quota nothing is counted there, and it is the
ledger's sum over all nodes, some seconds late. While the database is away only what it is not needed for is told. It
costs no month and is answered when that is spent.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import get
from litestar.di import NamedDependency
from psycopg.rows import class_row

from trinity.access.keys import Key
from trinity.clock import NS_PER_SECOND
from trinity.limits import QUOTA_WARNING_PERCENTS
from trinity.store.queries import load
from workers.api.base.auth import ApiCaller
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
async def show_account(caller: NamedDependency[ApiCaller], parts: NamedDependency[Parts]) -> AccountReport:
    """Who you are to this service (`admin`, `key` or `anonymous`); of a key its plan, limits, use and reset."""
    return await report_of(parts, caller)


async def report_of(parts: Parts, caller: ApiCaller) -> AccountReport:
    """What there is to say of a caller."""
    report = AccountReport(kind=caller.kind, account_id=caller.account_id or None, key_id=caller.key_id or None)
    if caller.kind != "key":
        return report
    used, ends_ns = parts.admission.month_of(caller.key_id)
    resets_at = datetime.fromtimestamp(ends_ns / NS_PER_SECOND, UTC)
    try:
        found = await _from_database(parts, caller.key_id)
    except DATABASE_ERRORS:
        return report
    if found is None:
        return report
    key, lookups = found
    quota = key.monthly_quota
    limits = PlanLimits(
        requests=key.rate_requests or None,
        seconds=key.rate_seconds,
        burst=key.burst if key.rate_requests else None,
        month=quota or None,
        dry_run=key.dry_run,
    )
    month = MonthUse(
        used=used if quota else lookups,
        left=max(quota - used, 0) if quota else None,
        resets_at=resets_at,
        warning_percent=warning_of(used, quota),
    )
    return msgspec.structs.replace(
        report,
        name=key.name,
        account=key.account,
        plan=key.plan,
        limits=limits,
        month=month,
        last_used_at=key.last_used_at,
        expires_at=key.expires_at,
    )


def warning_of(used: int, quota: int) -> int | None:
    """The highest of the thresholds, in percent of the quota, that was reached."""
    return max((percent for percent in QUOTA_WARNING_PERCENTS if 0 < quota * percent <= used * 100), default=None)


async def _from_database(parts: Parts, key_id: int) -> tuple[Key, int] | None:
    parameters: dict[str, Any] = {"id": key_id, "account": None, "plan": None, "count": 1}
    async with parts.pool.connection() as connection, connection.cursor(row_factory=class_row(Key)) as cursor:
        key = await (await cursor.execute(load("keys.keys"), parameters)).fetchone()
        row = await (await connection.execute(load("keys.month_of_key"), parameters)).fetchone()
    return None if key is None or row is None else (key, int(row[0]))
