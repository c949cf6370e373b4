"""The routes of this room, for keys about their own account and for the operator (customer.py)."""

from litestar import Router
from litestar.di import Provide

from workers.api.pushes import deliveries, endpoints, events, subscriptions
from workers.api.pushes.customer import ERRORS, provide_customer

ROUTER = Router(
    "/subscriptions",
    route_handlers=[*subscriptions.HANDLERS, *deliveries.HANDLERS],
    dependencies={"customer": Provide(provide_customer)},
    exception_handlers=ERRORS,
)
EVENTS = Router(
    "/",
    route_handlers=[*events.HANDLERS, *endpoints.HANDLERS],
    dependencies={"customer": Provide(provide_customer)},
    exception_handlers=ERRORS,
)
