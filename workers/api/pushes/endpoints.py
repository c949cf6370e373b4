"""`/endpoints`: where an account's events are posted, or for the operator the alarms of the nodes.

Rules: those of subscriptions (customer.py): the address of a URL is checked before it is taken, a secret is shown by
the answer that made it and by its own path to its owner, changes are written down and take an Idempotency-Key.
"""

from typing import Annotated

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from trinity.access import values
from trinity.errors import InputError
from trinity.limits import SECRET_GRACE_SECONDS_MAX
from trinity.push import endpoints
from trinity.push.endpoints import Connection, Endpoint, EventDelivery
from trinity.push.events import read_types
from workers.api.administration.bodies import read_body, takes
from workers.api.base.problems import ProblemError
from workers.api.pushes.customer import NUMBER_MAX, AnyRequest, Customer

LISTED_MAX = 1_000


class NewEndpointBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An endpoint to be made; without `types` it gets all events."""

    url: str
    types: list[str] = []
    name: str = ""


class EndpointChangeBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What is to be another; what is left out stays."""

    url: str | None = None
    types: list[str] | None = None
    name: str | None = None


class EndpointRotationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """How much longer events are signed with the old secret as well."""

    grace: str = "24h"


class EventReplayBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One event by its id, or all that did not arrive since a moment (ISO 8601, or how long ago: 24h)."""

    event: str | None = None
    since: str | None = None


class EmptyBody(msgspec.Struct, forbid_unknown_fields=True):
    """No field."""


class EndpointList(msgspec.Struct):
    """The newest first."""

    endpoints: list[Endpoint]


class OneEndpoint(msgspec.Struct):
    """The endpoint as it is now."""

    endpoint: Endpoint


class MadeEndpoint(msgspec.Struct):
    """An endpoint, and its secret."""

    secret: str
    endpoint: Endpoint


class EndpointSecret(msgspec.Struct):
    """What its events are signed with, and what they are signed with as well, while that is so."""

    secret: str
    old_secret: str | None = None


class EventDeliveryList(msgspec.Struct):
    """The newest event first."""

    deliveries: list[EventDelivery]


class QueuedEvents(msgspec.Struct):
    """How many events were put into the queue; of one, its id."""

    queued: int
    event: str | None = None


class DeletedEndpoint(msgspec.Struct):
    """Its number, which no other will have."""

    deleted: int


@get("/endpoints", tags=["push"])
async def list_endpoints(customer: NamedDependency[Customer]) -> EndpointList:
    """The account's endpoints and how they fare; the operator's are all."""
    return EndpointList(await customer.read("endpoints.endpoints", Endpoint, _which(customer, None)))


@post(
    "/endpoints",
    status_code=201,
    tags=["push"],
    operation_class=takes(
        NewEndpointBody, url="https://hooks.example.com/events", types=["subscription.*"], name="on call"
    ),
)
async def create_endpoint(request: AnyRequest, customer: NamedDependency[Customer]) -> Response[MadeEndpoint]:
    """Have events posted. The secret is shown this once; an `Idempotency-Key` makes no second one."""
    body = await read_body(request, NewEndpointBody)
    draft = endpoints.read_draft(body.url, body.types, values.name("name", body.name) if body.name else "")

    def work(connection: Connection) -> MadeEndpoint:
        made, secret = endpoints.create(connection, customer.account_id, draft)
        return MadeEndpoint(secret, made)

    return await customer.do("endpoints create", work, status=201, target=draft.url, field="url")


@get("/endpoints/{endpoint:int}", tags=["push"])
async def show_endpoint(endpoint: FromPath[int], customer: NamedDependency[Customer]) -> OneEndpoint:
    """One endpoint."""
    return OneEndpoint(await _find(customer, endpoint))


@patch("/endpoints/{endpoint:int}", tags=["push"], operation_class=takes(EndpointChangeBody, types=["key.*"]))
async def change_endpoint(
    request: AnyRequest, endpoint: FromPath[int], customer: NamedDependency[Customer]
) -> Response[OneEndpoint]:
    """Change where it is, what it gets or what it is called."""
    body = await read_body(request, EndpointChangeBody)
    url = None if body.url is None else endpoints.read_url(body.url)
    types = None if body.types is None else read_types("types", body.types)
    changes = {"url": url, "types": types, "name": values.name("name", body.name) if body.name else body.name}

    def work(connection: Connection) -> OneEndpoint:
        return OneEndpoint(endpoints.change(connection, _number(endpoint), customer.account_id, changes))

    return await customer.do("endpoints set", work, target=url, field="url")


@delete("/endpoints/{endpoint:int}", status_code=200, tags=["push"])
async def delete_endpoint(endpoint: FromPath[int], customer: NamedDependency[Customer]) -> Response[DeletedEndpoint]:
    """End an endpoint for good, with what waits for it."""

    def work(connection: Connection) -> DeletedEndpoint:
        return DeletedEndpoint(endpoints.delete(connection, _number(endpoint), customer.account_id).id)

    return await customer.do("endpoints delete", work)


@post("/endpoints/{endpoint:int}/pause", status_code=200, tags=["push"], operation_class=takes(EmptyBody))
async def pause_endpoint(
    request: AnyRequest, endpoint: FromPath[int], customer: NamedDependency[Customer]
) -> Response[OneEndpoint]:
    """Let events wait until it is resumed."""
    return await _set_state(request, endpoint, customer, "paused")


@post("/endpoints/{endpoint:int}/resume", status_code=200, tags=["push"], operation_class=takes(EmptyBody))
async def resume_endpoint(
    request: AnyRequest, endpoint: FromPath[int], customer: NamedDependency[Customer]
) -> Response[OneEndpoint]:
    """Post events again, also to one that was disabled; what failed meanwhile is asked for by a replay."""
    return await _set_state(request, endpoint, customer, "active")


@post(
    "/endpoints/{endpoint:int}/rotate",
    status_code=200,
    tags=["push"],
    operation_class=takes(EndpointRotationBody, grace="24h"),
)
async def rotate_endpoint(
    request: AnyRequest, endpoint: FromPath[int], customer: NamedDependency[Customer]
) -> Response[MadeEndpoint]:
    """A new secret, shown this once; the old one signs as well for `grace`."""
    body = await read_body(request, EndpointRotationBody)
    grace = values.duration("grace", body.grace)
    if grace.total_seconds() > SECRET_GRACE_SECONDS_MAX:
        raise InputError("grace", f"{body.grace} is more than 7d: an old secret must end")

    def work(connection: Connection) -> MadeEndpoint:
        found, secret = endpoints.rotate(connection, _number(endpoint), customer.account_id, grace)
        return MadeEndpoint(secret, found)

    return await customer.do("endpoints rotate", work)


@get("/endpoints/{endpoint:int}/secret", tags=["push"])
async def show_endpoint_secret(endpoint: FromPath[int], customer: NamedDependency[Customer]) -> EndpointSecret:
    """Its secret, for its owner alone."""
    found = await _find(customer, endpoint)
    if customer.account_id is None and found.account is not None:
        raise ProblemError(403, "owner_only", "a secret is its owner's to see: rotate it to have one for yourself")
    return (await customer.read("endpoints.secret", EndpointSecret, {"id": found.id}))[0]


@post("/endpoints/{endpoint:int}/test", status_code=202, tags=["push"], operation_class=takes(EmptyBody))
async def send_test_event(
    request: AnyRequest, endpoint: FromPath[int], customer: NamedDependency[Customer]
) -> Response[QueuedEvents]:
    """Post a test event to this endpoint alone; what became of it is in its deliveries."""
    await read_body(request, EmptyBody)
    found = await _find(customer, endpoint)

    def work(connection: Connection) -> QueuedEvents:
        return QueuedEvents(1, endpoints.send_test(connection, found.id, customer.account_id))

    return await customer.do("endpoints test", work, status=202, target=found.url, field="url")


@get("/endpoints/{endpoint:int}/deliveries", tags=["push"])
async def list_event_deliveries(
    endpoint: FromPath[int],
    customer: NamedDependency[Customer],
    limit: Annotated[int, QueryParameter(ge=1, le=LISTED_MAX, description="At most so many.")] = 50,
) -> EventDeliveryList:
    """An endpoint's events and what became of each."""
    found = await _find(customer, endpoint)
    parameters = {"id": found.id, "count": limit}
    return EventDeliveryList(await customer.read("endpoints.deliveries", EventDelivery, parameters))


@post(
    "/endpoints/{endpoint:int}/replay",
    status_code=202,
    tags=["push"],
    operation_class=takes(EventReplayBody, since="24h"),
)
async def replay_events(
    request: AnyRequest, endpoint: FromPath[int], customer: NamedDependency[Customer]
) -> Response[QueuedEvents]:
    """Post one event again, or all that did not arrive since: same bodies, same ids."""
    body = await read_body(request, EventReplayBody)
    if (body.event is None) == (body.since is None):
        raise InputError("since", "say either `event` or `since`")
    since = None if body.since is None else endpoints.read_since("since", body.since, customer.parts.now())
    uid = None if body.event is None else values.name("event", body.event)

    def work(connection: Connection) -> QueuedEvents:
        number = _number(endpoint)
        count = endpoints.replay(connection, number, customer.account_id, uid=uid, since=since)
        return QueuedEvents(count, uid)

    return await customer.do("endpoints replay", work, status=202)


async def _set_state(request: AnyRequest, endpoint: int, customer: Customer, state: str) -> Response[OneEndpoint]:
    await read_body(request, EmptyBody)

    def work(connection: Connection) -> OneEndpoint:
        return OneEndpoint(endpoints.set_state(connection, _number(endpoint), customer.account_id, state))

    return await customer.do(f"endpoints {'pause' if state == 'paused' else 'resume'}", work)


async def _find(customer: Customer, endpoint: int) -> Endpoint:
    found = await customer.read("endpoints.endpoints", Endpoint, _which(customer, _number(endpoint)))
    if not found:
        raise endpoints.absent(endpoint)
    return found[0]


def _which(customer: Customer, number: int | None) -> dict[str, int | None]:
    return {"id": number, "account_id": customer.account_id}


def _number(endpoint: int) -> int:
    if not 1 <= endpoint <= NUMBER_MAX:
        raise endpoints.absent(endpoint)
    return endpoint


HANDLERS = (
    list_endpoints,
    create_endpoint,
    show_endpoint,
    change_endpoint,
    delete_endpoint,
    pause_endpoint,
    resume_endpoint,
    rotate_endpoint,
    show_endpoint_secret,
    send_test_event,
    list_event_deliveries,
    replay_events,
)
