"""`/administration/plans`: what customers are held to."""

from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from trinity.access import plans, values
from trinity.access.plans import Plan, PlanChange, PlanPrice
from workers.api.administration.administrator import Administrator
from workers.api.administration.bodies import LimitsBody, read_body, takes

AnyRequest = Request[Any, Any, Any]


class PlanBody(LimitsBody, kw_only=True):
    """What of a plan is to be another; what is left out stays. A new plan needs rate, burst and quota."""

    dry_run: bool | None = None
    admission_class: str | int | None = None


class PriceBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a plan costs a month, from a day (UTC) on; today, where none is named."""

    price: str | int | float
    currency: str
    since: str | None = msgspec.field(default=None, name="from")


class PlanList(msgspec.Struct):
    """All plans, with the number of their keys."""

    plans: list[Plan]


class OnePlan(msgspec.Struct):
    """The plan as it is now; `created`: it is new."""

    plan: Plan
    created: bool


@get("/plans", tags=["administration"])
async def list_plans(administrator: NamedDependency[Administrator]) -> PlanList:
    """All plans."""
    return PlanList(await administrator.do("plans list", plans.list_plans))


@post(
    "/plans/{plan:str}",
    status_code=200,
    tags=["administration"],
    operation_class=takes(PlanBody, rate="90/m", quota=1_000_000),
)
async def set_plan(request: AnyRequest, plan: FromPath[str], administrator: NamedDependency[Administrator]) -> OnePlan:
    """Change a plan, or make it; all keys on it follow at once, but for limits of their own."""
    body = await read_body(request, PlanBody)
    name = values.name("plan", plan)
    given = body.admission_class
    admission_class = None if given is None else values.admission_class("admission_class", str(given))
    change = PlanChange(**body.columns(of_plan=True), dry_run=body.dry_run, admission_class=admission_class)
    return await administrator.do("plans set", lambda found: OnePlan(*plans.set_plan(found, name, change)))


@post(
    "/plans/{plan:str}/price",
    status_code=200,
    tags=["administration"],
    operation_class=takes(PriceBody, price="49.90", currency="EUR"),
)
async def price_plan(
    request: AnyRequest, plan: FromPath[str], administrator: NamedDependency[Administrator]
) -> PlanPrice:
    """Say what a plan costs a month from a day on; bills of months before keep the price before."""
    body = await read_body(request, PriceBody)
    name = values.name("plan", plan)
    price, currency = values.amount("price", str(body.price)), values.currency("currency", body.currency)
    since = None if body.since is None else values.day("from", body.since)
    return await administrator.do(
        "plans price", lambda connection: plans.set_price(connection, name, price, currency, since)
    )


HANDLERS = (list_plans, set_plan, price_plan)
