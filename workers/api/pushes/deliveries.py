"""`/subscriptions/{subscription}/...`: what became of its messages; a test, one again, all that was missed.

Rules: a delivery is known by its sequence. A test and a replay are put down and done by the node that sends this
subscription; the answer is 202 with the order, which `orders/{order}` tells the end of. The target is checked again
before a test is put down, and once more when it is sent. Lists of deliveries are read through the cache.
"""

from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from trinity.errors import AbsentError
from trinity.push.deliveries import DeliveryReport, delivery, delivery_parameters, order
from trinity.push.orders import Order, since
from trinity.push.store import Connection
from workers.api.administration.bodies import read_body, takes
from workers.api.base.parameters import read_moment
from workers.api.base.serving.cache import question_of
from workers.api.pushes.customer import NUMBER_MAX, AnyRequest, Customer, number_of
from workers.api.pushes.subscriptions import NoBody, find_report

LISTED_MAX = 1_000
# In the cache: pages that watch a receiver ask again and again, and what is a few seconds old tells them as much.
KEPT_SECONDS = 2
_UTC = ZoneInfo("UTC")


class SinceBody(msgspec.Struct, forbid_unknown_fields=True):
    """From when on messages were missed: ISO 8601, or seconds since 1970."""

    since: str | int


class DeliveryList(msgspec.Struct):
    """The newest first; `next` is the `before` of what follows, null at the end."""

    deliveries: list[DeliveryReport]
    next: int | None


class OneOrder(msgspec.Struct):
    """A test or a replay, and what came of it: `waiting`, `running`, `done`, `failed`."""

    order: Order


@get("/{subscription:int}/deliveries", tags=["push"])
async def list_deliveries(
    subscription: FromPath[int],
    customer: NamedDependency[Customer],
    before: Annotated[int | None, QueryParameter(ge=1, le=NUMBER_MAX, description="Of a smaller sequence.")] = None,
    failed: Annotated[bool, QueryParameter(description="Those alone that did not arrive.")] = False,
    limit: Annotated[int, QueryParameter(ge=1, le=LISTED_MAX, description="At most so many.")] = 100,
) -> Response[DeliveryList]:
    """What became of a subscription's messages, and why."""
    report = await find_report(customer, subscription)
    parameters = delivery_parameters(report.id, before=before, failed=failed, count=limit)
    question, cache = question_of("deliveries", parameters, None), customer.parts.cache
    body = await cache.get(question)
    if body is None:
        found = await customer.read("push.deliveries", delivery, parameters)
        body = msgspec.json.encode(DeliveryList(found, found[-1].sequence if len(found) == limit else None))
        await cache.set(question, body, KEPT_SECONDS)
    answer: Response[Any] = Response(body, media_type="application/json")
    return answer


@post("/{subscription:int}/test", status_code=202, tags=["push"], operation_class=takes(NoBody))
async def send_test(
    request: AnyRequest, subscription: FromPath[int], customer: NamedDependency[Customer]
) -> Response[OneOrder]:
    """Send one message now, with the reason `test`, also while it is paused or disabled."""
    await read_body(request, NoBody)
    report = await find_report(customer, subscription)

    def work(connection: Connection) -> OneOrder:
        return OneOrder(order(connection, report.id, customer.account_id, "test", {}))

    return await customer.do("push test", work, status=202, target=report.target)


@post(
    "/{subscription:int}/deliveries/{sequence:int}/replay",
    status_code=202,
    tags=["push"],
    operation_class=takes(NoBody),
)
async def replay_delivery(
    request: AnyRequest, subscription: FromPath[int], sequence: FromPath[int], customer: NamedDependency[Customer]
) -> Response[OneOrder]:
    """Deliver one message once more, with the prices of now and a sequence of its own."""
    await read_body(request, NoBody)
    number = number_of(subscription)
    if not 1 <= sequence <= NUMBER_MAX:
        raise AbsentError("delivery", str(sequence), "")

    def work(connection: Connection) -> OneOrder:
        return OneOrder(order(connection, number, customer.account_id, "replay", {"sequence": sequence}))

    return await customer.do("push replay", work, status=202)


@post(
    "/{subscription:int}/replay",
    status_code=202,
    tags=["push"],
    operation_class=takes(SinceBody, since="2026-03-29T12:00:00Z"),
)
async def replay_missed(
    request: AnyRequest, subscription: FromPath[int], customer: NamedDependency[Customer]
) -> Response[OneOrder]:
    """Deliver what was missed since then: the close of each minute, the oldest first."""
    body = await read_body(request, SinceBody)
    number = number_of(subscription)
    argument = since("since", read_moment(str(body.since), "since", _UTC), customer.parts.now())

    def work(connection: Connection) -> OneOrder:
        return OneOrder(order(connection, number, customer.account_id, "replay_since", argument))

    return await customer.do("push replay", work, status=202)


@get("/{subscription:int}/orders/{order_id:uuid}", tags=["push"])
async def show_order(
    subscription: FromPath[int], order_id: FromPath[UUID], customer: NamedDependency[Customer]
) -> OneOrder:
    """What came of a test or a replay."""
    report = await find_report(customer, subscription)
    found = await customer.read("orders.find", Order, {"id": order_id, "subscription_id": report.id})
    if not found:
        raise AbsentError("order", str(order_id), "")
    return OneOrder(found[0])


HANDLERS = (list_deliveries, send_test, replay_delivery, replay_missed, show_order)
