"""`/administration/plans` and `/administration/accounts`: what customers are held to, and who they are."""

from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from trinity.access import plans, values
from trinity.access.keys import Connection
from trinity.access.plans import Account, Plan, PlanChange
from workers.api.administration.administrator import Administrator
from workers.api.administration.bodies import LimitsBody, read_body, takes

AnyRequest = Request[Any, Any, Any]


class PlanBody(LimitsBody, kw_only=True):
    """What of a plan is to be another; what is left out stays. A new plan needs rate, burst and quota."""

    dry_run: bool | None = None


class AccountBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What of an account is to be another; what is left out stays."""

    language: str | None = None
    email: str | None = None


class PlanList(msgspec.Struct):
    """All plans, with the number of their keys."""

    plans: list[Plan]


class OnePlan(msgspec.Struct):
    """The plan as it is now; `created`: it is new."""

    plan: Plan
    created: bool


class AccountList(msgspec.Struct):
    """All accounts, with the number of their keys."""

    accounts: list[Account]


class OneAccount(msgspec.Struct):
    """The account as it is now."""

    account: Account


@get("/plans", tags=["administration"])
async def list_plans(administrator: NamedDependency[Administrator]) -> PlanList:
    """All plans."""
    return PlanList(await administrator.do("plans list", plans.list_plans))


@post("/plans/{plan:str}", status_code=200, tags=["administration"], operation_class=takes(PlanBody))
async def set_plan(request: AnyRequest, plan: FromPath[str], administrator: NamedDependency[Administrator]) -> OnePlan:
    """Change a plan, or make it; all keys on it follow at once, but for limits of their own."""
    body = await read_body(request, PlanBody)
    name = values.name("plan", plan)
    change = PlanChange(**body.columns(of_plan=True), dry_run=body.dry_run)
    return await administrator.do("plans set", lambda found: OnePlan(*plans.set_plan(found, name, change)))


@get("/accounts", tags=["administration"])
async def list_accounts(administrator: NamedDependency[Administrator]) -> AccountList:
    """All accounts."""
    return AccountList(await administrator.do("accounts list", plans.list_accounts))


@post("/accounts/{account:str}", status_code=200, tags=["administration"], operation_class=takes(AccountBody))
async def set_account(
    request: AnyRequest, account: FromPath[str], administrator: NamedDependency[Administrator]
) -> OneAccount:
    """Change an account, or make it."""
    body = await read_body(request, AccountBody)
    name = values.name("account", account)
    email = None if body.email is None else values.email("email", body.email)
    language = None if body.language is None else values.language("language", body.language)

    def work(connection: Connection) -> OneAccount:
        return OneAccount(plans.set_account(connection, name, email, language))

    return await administrator.do("accounts set", work)


HANDLERS = (list_plans, set_plan, list_accounts, set_account)
