"""GET /key: what the caller's key may do, and what it has used of this month.

Rules: the numbers are those of /account, in CoinGecko's words. A limit that a key does not have is null, and so is what
is left of it. CoinGecko tells a plan's limits from those of a key; here they are the same, told twice.
"""

from typing import Any

from litestar import get
from litestar.di import NamedDependency

from workers.api.accounts.account import report_of
from workers.api.base.auth import ApiCaller
from workers.api.base.context import Parts
from workers.api.base.problems import refusal_of
from workers.api.dropins.coingecko.answers import TAGS

_SECONDS_PER_MINUTE = 60


@get("/key", tags=TAGS)
async def show_key(parts: NamedDependency[Parts], caller: NamedDependency[ApiCaller]) -> dict[str, Any]:
    """Plan, limits, used and left of the key that asks; the operator's own has no limits."""
    if caller.kind == "anonymous":
        raise refusal_of("missing_key")
    report = await report_of(parts, caller)
    limits, month = report.limits, report.month
    a_minute = limits.requests * _SECONDS_PER_MINUTE // limits.seconds if limits and limits.requests else None
    quota, used = limits.month if limits else None, month.used if month else None
    return {
        "plan": "admin" if caller.is_admin else report.plan or "",
        "rate_limit_request_per_minute": a_minute,
        "monthly_call_credit": quota,
        "current_total_monthly_calls": used,
        "current_remaining_monthly_calls": month.left if month else None,
        "api_key_rate_limit_request_per_minute": a_minute,
        "api_key_monthly_call_credit": quota,
        "api_key_current_total_monthly_calls": used,
    }
