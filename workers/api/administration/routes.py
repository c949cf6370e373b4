"""The routes of this room, for the operator alone (administrator.py)."""

from litestar import Router
from litestar.di import Provide

from workers.api.administration import accounts, blocks, keys, plans
from workers.api.administration.administrator import ERRORS, provide_administrator

ROUTER = Router(
    "/administration",
    route_handlers=[*keys.HANDLERS, *plans.HANDLERS, *accounts.HANDLERS, *blocks.HANDLERS],
    dependencies={"administrator": Provide(provide_administrator)},
    exception_handlers=ERRORS,
)
