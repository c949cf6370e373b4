"""`/subscriptions`: made, listed, changed, paused, resumed, given another secret, deleted.

Rules: a secret is in the answer that made it, and in that to its owner who asks for it by its own path; the operator,
who needs none, gives another one instead. A number of 0 is off.
"""

import secrets
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter
from msgspec import UNSET, UnsetType

from trinity.access import values
from trinity.errors import InputError
from trinity.limits import SECRET_GRACE_SECONDS_MAX
from trinity.push import store
from trinity.push.secret import make_secret, read_secret
from trinity.push.store import Connection
from trinity.push.subscription import Subscription, SubscriptionReport, read_change, read_draft
from workers.api.administration.bodies import read_body, takes
from workers.api.base.prices import Prices
from workers.api.base.problems import ProblemError
from workers.api.pushes.customer import NUMBER_MAX, AnyRequest, Customer, number_of

LISTED_MAX = 1_000


class ChangeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be another; what is left out stays. 0 is off."""

    name: str | None = None
    target: str | None = None
    assets: list[str] | None = None
    interval_s: int | None = None
    deviation_bps: int | None = None
    heartbeat_s: int | None = None
    max_age_ms: int | None = None
    min_sources: int | None = None


class NewSubscriptionBody(ChangeBody, kw_only=True):
    """A subscription to be made; what is left out is off. `account` is the operator's to say, `secret` a customer's."""

    target: str
    assets: list[str]
    secret: str | None = None
    account: str | None = None


class SecretRotationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much longer messages are signed with the old secret as well; a secret of one's own."""

    grace: str = "24h"
    secret: str | None = None


class NoBody(msgspec.Struct, forbid_unknown_fields=True):
    """No field."""


class SubscriptionList(msgspec.Struct):
    """By their numbers; `next` is the `after` of what follows, null at the end."""

    subscriptions: list[SubscriptionReport]
    next: int | None


class OneSubscription(msgspec.Struct):
    """The subscription as it is now; `changed`, of a pause and a resumption, is false where it was so before."""

    subscription: SubscriptionReport
    changed: bool | UnsetType = UNSET


class SubscriptionSecret(msgspec.Struct):
    """What its messages are signed with, and what they are signed with as well, while that is so."""

    secret: str
    old_secret: str | None = None


class MadeSubscription(msgspec.Struct):
    """A subscription, and its secret."""

    secret: str
    subscription: SubscriptionReport


class DeletedSubscription(msgspec.Struct):
    """Its number, which no other will have."""

    deleted: int


@get("/", tags=["push"])
async def list_subscriptions(
    customer: NamedDependency[Customer],
    after: Annotated[int, QueryParameter(ge=0, le=NUMBER_MAX, description="Those with a larger number.")] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=LISTED_MAX, description="At most so many.")] = 100,
    account: Annotated[str | None, QueryParameter(description="Of this account alone; for the operator.")] = None,
) -> SubscriptionList:
    """The account's subscriptions with how their receivers fare; the operator's are all."""
    name = None if account is None else values.name("account", account)
    parameters = store.report_parameters(customer.account_id, after=after, count=limit, account=name)
    found = await customer.read("push.reports", store.report, parameters)
    return SubscriptionList(found, found[-1].id if len(found) == limit else None)


@post(
    "/",
    status_code=201,
    tags=["push"],
    operation_class=takes(
        NewSubscriptionBody, target="https://hooks.example.com/prices", assets=["BTC", "ETH"], interval_s=10,
        deviation_bps=50, name="web shop",
    ),
)  # fmt: skip
async def create_subscription(request: AnyRequest, customer: NamedDependency[Customer]) -> Response[MadeSubscription]:
    """Have prices delivered: at least one of `interval_s`, `deviation_bps`, `heartbeat_s` says when.

    Its secret is shown this once. With an `Idempotency-Key` a request that is sent again makes no second one.
    """
    body = await read_body(request, NewSubscriptionBody)
    account = _account_of(customer, body.account)
    secret = _given_secret(body.secret) or make_secret(secrets.token_bytes)
    draft = read_draft(_fields(body, ChangeBody), _assets(customer))

    def work(connection: Connection) -> MadeSubscription:
        made = store.create(connection, draft, account, customer.key_id, secret)
        return MadeSubscription(secret, store.show(connection, made.id, None))

    return await customer.do("push create", work, status=201, target=draft.target)


@get("/{subscription:int}", tags=["push"])
async def show_subscription(subscription: FromPath[int], customer: NamedDependency[Customer]) -> OneSubscription:
    """One subscription, and how its receiver fares."""
    return OneSubscription(await find_report(customer, subscription))


@patch(
    "/{subscription:int}",
    tags=["push"],
    operation_class=takes(ChangeBody, interval_s=0, deviation_bps=25, heartbeat_s=300),
)
async def change_subscription(
    request: AnyRequest, subscription: FromPath[int], customer: NamedDependency[Customer]
) -> Response[OneSubscription]:
    """Change some of its fields; sequence and secret go on."""
    body = await read_body(request, ChangeBody)
    number, wanted = number_of(subscription), read_change(_fields(body, ChangeBody), _assets(customer))

    def work(connection: Connection) -> OneSubscription:
        store.change(connection, number, customer.account_id, wanted)
        return OneSubscription(store.show(connection, number, customer.account_id))

    return await customer.do("push set", work, target=wanted.target)


@delete("/{subscription:int}", status_code=200, tags=["push"])
async def delete_subscription(
    subscription: FromPath[int], customer: NamedDependency[Customer]
) -> Response[DeletedSubscription]:
    """End a subscription for good."""
    number = number_of(subscription)

    def work(connection: Connection) -> DeletedSubscription:
        return DeletedSubscription(store.delete(connection, number, customer.account_id).id)

    return await customer.do("push delete", work)


@post("/{subscription:int}/pause", status_code=200, tags=["push"], operation_class=takes(NoBody))
async def pause_subscription(
    request: AnyRequest, subscription: FromPath[int], customer: NamedDependency[Customer]
) -> Response[OneSubscription]:
    """Deliver nothing until it is resumed."""
    return await _switched(request, subscription, customer, "push pause", store.pause)


@post("/{subscription:int}/resume", status_code=200, tags=["push"], operation_class=takes(NoBody))
async def resume_subscription(
    request: AnyRequest, subscription: FromPath[int], customer: NamedDependency[Customer]
) -> Response[OneSubscription]:
    """Deliver again what was paused, or disabled because its receiver failed for too long."""
    return await _switched(request, subscription, customer, "push resume", store.resume)


@post(
    "/{subscription:int}/rotate",
    status_code=200,
    tags=["push"],
    operation_class=takes(SecretRotationBody, grace="24h"),
)
async def rotate_secret(
    request: AnyRequest, subscription: FromPath[int], customer: NamedDependency[Customer]
) -> Response[MadeSubscription]:
    """Give a subscription another secret, shown this once; for `grace` messages are signed with both."""
    body = await read_body(request, SecretRotationBody)
    number, grace = number_of(subscription), values.duration("grace", body.grace)
    if grace.total_seconds() > SECRET_GRACE_SECONDS_MAX:
        raise InputError("grace", f"{body.grace} is more than 7d: an old secret must end")
    secret = _given_secret(body.secret) or make_secret(secrets.token_bytes)

    def work(connection: Connection) -> MadeSubscription:
        store.rotate(connection, number, customer.account_id, grace, secret)
        return MadeSubscription(secret, store.show(connection, number, customer.account_id))

    return await customer.do("push rotate", work)


@get("/{subscription:int}/secret", tags=["push"])
async def show_secret(subscription: FromPath[int], customer: NamedDependency[Customer]) -> SubscriptionSecret:
    """A subscription's secret, for its owner alone."""
    if customer.account_id is None:
        raise ProblemError(403, "owner_only", "a secret is its owner's to see: rotate it to have one for yourself")
    number = number_of(subscription)
    parameters = {"id": number, "account_id": customer.account_id}
    found = await customer.read("push.secret", SubscriptionSecret, parameters)
    if not found:
        raise store.absent(number)
    return found[0]


async def find_report(customer: Customer, subscription: int) -> SubscriptionReport:
    """The subscription of this number, where it is the caller's."""
    number = number_of(subscription)
    parameters = store.report_parameters(customer.account_id, number=number)
    found = await customer.read("push.reports", store.report, parameters)
    if not found:
        raise store.absent(number)
    return found[0]


async def _switched(
    request: AnyRequest,
    subscription: int,
    customer: Customer,
    action: str,
    switch: Callable[[Connection, int, int | None], tuple[Subscription, bool]],
) -> Response[OneSubscription]:
    """Have it paused or resumed."""
    await read_body(request, NoBody)
    number = number_of(subscription)

    def work(connection: Connection) -> OneSubscription:
        _, is_change = switch(connection, number, customer.account_id)
        return OneSubscription(store.show(connection, number, customer.account_id), is_change)

    return await customer.do(action, work)


def _account_of(customer: Customer, name: str | None) -> int | str:
    """Whose subscription is to be made: the caller's own, or, for the operator, that of an account by its name."""
    if customer.account_id is None:
        if name is None:
            raise InputError("account", "say whose it is to be: the name of an account")
        return values.name("account", name)
    if name is not None:
        raise InputError("account", "it is the key's own: leave it out")
    return customer.account_id


def _given_secret(written: str | None) -> str | None:
    if written is not None:
        read_secret(written)
    return written


def _fields(body: msgspec.Struct, of: type[msgspec.Struct]) -> dict[str, Any]:
    return {field: getattr(body, field) for field in of.__struct_fields__}


def _assets(customer: Customer) -> Any:
    prices: Prices = customer.parts.prices

    def find(name: str) -> str | None:
        index = prices.find(name)
        return None if index is None else prices.assets[index]

    return find


HANDLERS = (
    list_subscriptions,
    create_subscription,
    show_subscription,
    change_subscription,
    delete_subscription,
    pause_subscription,
    resume_subscription,
    rotate_secret,
    show_secret,
)
