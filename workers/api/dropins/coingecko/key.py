"""GET /key: what the caller's key may do, and what it has used of this month.

Rules: the numbers are the node's own limits, in CoinGecko's words. A limit that a key does not have is null, and so is
what is used and left of it. CoinGecko tells a plan's limits from those of a key; here they are the same, told twice.
"""

from typing import Any

import psycopg
import psycopg_pool
from litestar import Request, get
from litestar.di import NamedDependency

from trinity.store.queries import load
from workers.api.base.callers.admission import Admitted
from workers.api.base.callers.auth import ApiCaller
from workers.api.base.context import Parts
from workers.api.base.problems import refusal_of
from workers.api.dropins.coingecko.answers import TAGS

_SECONDS_PER_MINUTE = 60


@get("/key", tags=TAGS)
async def show_key(
    request: Request[Any, Any, Any], parts: NamedDependency[Parts], caller: NamedDependency[ApiCaller]
) -> dict[str, Any]:
    """Plan, limits, used and left of the key that asks; the operator's own has no limits."""
    if caller.kind == "anonymous":
        raise refusal_of("missing_key")
    admitted: Admitted | None = request.scope["state"].get("admitted")
    requests, seconds, _, quota, _ = (0, 1, 0, 0, False) if admitted is None else admitted.limits
    a_minute = requests * _SECONDS_PER_MINUTE // seconds if requests else None
    used = parts.admission.month_of(caller.key_id)[0] if quota else None
    left = None if used is None else max(quota - used, 0)
    return {
        "plan": "admin" if caller.is_admin else await _plan_of(parts, caller.key_id),
        "rate_limit_request_per_minute": a_minute,
        "monthly_call_credit": quota or None,
        "current_total_monthly_calls": used,
        "current_remaining_monthly_calls": left,
        "api_key_rate_limit_request_per_minute": a_minute,
        "api_key_monthly_call_credit": quota or None,
        "api_key_current_total_monthly_calls": used,
    }


async def _plan_of(parts: Parts, key_id: int) -> str:
    """The plan's name; empty while the database does not answer."""
    try:
        async with parts.pool.connection() as connection:
            row = await (await connection.execute(load("reports.plan_of_key"), {"key_id": key_id})).fetchone()
    except (psycopg.OperationalError, psycopg_pool.PoolTimeout):
        return ""
    return str(row[0]) if row is not None else ""
