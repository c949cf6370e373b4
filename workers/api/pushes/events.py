"""`/events`: what happened to an account, the newest first; for the operator what happened to all, and to the nodes.

Rules: reading only. Events are written with what they tell of (trinity/push/events.py); where they are posted to is
`/endpoints` (endpoints.py).
"""

from typing import Annotated

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from trinity.push import events
from trinity.push.events import Event
from workers.api.pushes.customer import NUMBER_MAX, Customer

LISTED_MAX = 1_000


class EventKind(msgspec.Struct):
    """A type of event: its name, and what it tells."""

    type: str
    text: str


class EventList(msgspec.Struct):
    """The newest first; `next` is the `before` of what follows, null at the end."""

    events: list[Event]
    next: int | None


class EventKindList(msgspec.Struct):
    """All types of events."""

    types: list[EventKind]


@get("/events", tags=["push"])
async def list_events(
    customer: NamedDependency[Customer],
<<<<<<< HEAD
    types: Annotated[str | None, QueryParameter(description="Of these alone, with commas; or `key.*`.")] = None,
=======
    types: Annotated[list[str] | None, QueryParameter(description="Of these alone, or `key.*`.")] = None,
>>>>>>> pb
    before: Annotated[int | None, QueryParameter(ge=1, le=NUMBER_MAX, description="Those before this one.")] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=LISTED_MAX, description="At most so many.")] = 50,
) -> EventList:
    """What happened to the account: subscriptions, endpoints and keys. Each is also posted to `/endpoints`."""
    wanted = events.read_types("types", [] if types is None else types.split(","))
    parameters = events.feed_parameters(customer.account_id, wanted, before, limit)
    found = await customer.read("events.feed", Event, parameters)
    return EventList(found, found[-1].id if len(found) == limit else None)


@get("/events/types", tags=["push"], sync_to_thread=False)
def list_event_types(customer: NamedDependency[Customer]) -> EventKindList:
    """The types of events that the caller may get."""
    is_operator = customer.account_id is None
    kinds = [EventKind(kind.name, kind.text) for kind in events.EVENT_TYPES if is_operator or not kind.is_operators]
    return EventKindList(kinds)


HANDLERS = (list_events, list_event_types)
