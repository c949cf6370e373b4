"""`/reports/billing`, `/reports/accounts` and `/reports/plans`: for the people who bill.

Rules: one call has every customer's month, and a key sees its own account's alone. Amounts are exact decimals, as text.
"""

from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from workers.api.base.callers.auth import ApiCaller, require_usage_reader
from workers.api.base.context import Parts
from workers.api.base.parameters import read_zone
from workers.api.base.problems import bad_parameter
from workers.api.usage.bill import COLUMNS, STATEMENT, read_month
from workers.api.usage.columns import Column
from workers.api.usage.export import FormatParameter, Query, Usage, deliver, format_of

_ACCOUNTS = (
    Column("account_id", "integer"),
    Column("account", "name"),
    Column("plans", "name"),
    Column("keys", "integer"),
    Column("since", "date"),
)
_PLANS = (
    Column("plan", "name"),
    Column("monthly_quota", "integer"),
    Column("price", "amount"),
    Column("currency", "text"),
    Column("since", "date"),
)
AnyRequest = Request[Any, Any, Any]


@get("/billing", tags=["reports"])
async def show_bill(
    request: AnyRequest,
    parts: NamedDependency[Parts],
    usage: NamedDependency[Usage],
    caller: NamedDependency[ApiCaller],
    month: Annotated[str, QueryParameter(description="A month of UTC: 2026-11.")],
    format_: FormatParameter = None,
) -> Response[Any]:
    """A month of every customer: plan, price, answers, those that cost, and what is beyond the plan.

    One row an account and plan. Prices are those of the month's first second; `complete`: whether the month is over.
    """
    require_usage_reader(caller)
    now = parts.now()
    try:
        asked = read_month(month, now, parts.settings.retention.sums_months)
    except ValueError as error:
        raise bad_parameter("month", str(error)) from None
    query = Query(STATEMENT, asked.parameters(_accounts_of(caller)), COLUMNS, read_zone("UTC"), asked.file)
    return await _deliver(request, parts, usage, query, format_, asked.head(now))


@get("/accounts", tags=["reports"])
async def show_accounts(
    request: AnyRequest,
    parts: NamedDependency[Parts],
    usage: NamedDependency[Usage],
    caller: NamedDependency[ApiCaller],
    format_: FormatParameter = None,
) -> Response[Any]:
    """Customers by number and name, with the plans of the keys that they use."""
    require_usage_reader(caller)
    query = Query(
        "billing.accounts", {"account_ids": _accounts_of(caller)}, _ACCOUNTS, read_zone("UTC"), "trinity-accounts"
    )
    return await _deliver(request, parts, usage, query, format_, {})


@get("/plans", tags=["reports"])
async def show_plans(
    request: AnyRequest,
    parts: NamedDependency[Parts],
    usage: NamedDependency[Usage],
    caller: NamedDependency[ApiCaller],
    format_: FormatParameter = None,
) -> Response[Any]:
    """Plans with each of their prices and the day since when it holds; one without a price has one row."""
    require_usage_reader(caller)
    query = Query("billing.plans", {}, _PLANS, read_zone("UTC"), "trinity-plans")
    return await _deliver(request, parts, usage, query, format_, {})


def _accounts_of(caller: ApiCaller) -> list[int] | None:
    return None if caller.sees_all_usage else [caller.account_id]


async def _deliver(
    request: AnyRequest, parts: Parts, usage: Usage, query: Query, format_: Any, head: dict[str, Any]
) -> Response[Any]:
    return await deliver(
        parts, usage, request.scope, query, format_of(format_, request.headers.get("accept", "")), head
    )
