"""The routes of the reporting service: one literal list, and what every handler of it may ask for.

Rules
- A room adds its module and one line to `ROUTES`. A handler asks by name for
  `parts: NamedDependency[Parts]` and `caller: NamedDependency[Caller]`.
- What the OpenAPI document does not name is refused by name: an unknown or repeated query parameter is a 400. Foreign
  clients send more than they say; a handler for them has `opt={"any_parameters": True}`.
- Errors are problem+json (problems.py); the id of the request is put in by calls.py.
"""

from collections import Counter
from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, Parameter, Reference, SecurityScheme
from litestar.router import Router
from litestar.types import ControllerRouterHandler

from workers.reports import (
    account,
    coingecko,
    documentation,
    hermes,
    history,
    node_state,
    page,
    signin,
    sockets,
    streams,
    udf,
    usage,
)
from workers.reports.auth import provide_caller
from workers.reports.parts import Parts
from workers.reports.problems import HANDLERS, RefusedError

ROUTES: tuple[ControllerRouterHandler, ...] = (
    documentation.openapi_json,
    account.show_account,
    usage.router,
    history.show_history,
    history.show_average,
    history.show_price_at,
    history.show_explanation,
    node_state.show_node,
    node_state.show_asset,
    node_state.show_inside,
    signin.show_session,
    signin.open_session,
    signin.end_session,
    page.show_page,
    page.show_file,
    streams.stream_prices,
    sockets.price_socket,
    hermes.price_feeds,
    hermes.latest_prices,
    hermes.stream_updates,
    coingecko.ROUTER,
    udf.ROUTER,
)

# A key may stand in the query of every call.
_KEY_PARAMETER = "api_key"
# No call of this service has a body that is larger than a login form.
BODY_BYTES_MAX = 64 * 1024


def make_app(parts: Parts) -> Litestar:
    """The application over one process's parts."""
    return Litestar(
        list(ROUTES),
        dependencies={
            "parts": Provide(lambda: parts, sync_to_thread=False),
            "caller": Provide(provide_caller),
        },
        state=State({"parts": parts}),
        before_request=signin.read_session,
        guards=[refuse_unknown_parameters],
        exception_handlers=HANDLERS,
        openapi_config=OpenAPIConfig(
            title="Trinity reports",
            version=documentation.API_VERSION,
            description=documentation.DESCRIPTION,
            openapi_router=Router(path="/docs", route_handlers=[], include_in_schema=False),
            render_plugins=[documentation.DocumentPage()],
            use_handler_docstrings=True,
            components=Components(security_schemes=_SECURITY),
            security=[{name: []} for name in _SECURITY],
        ),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
    )


_SECURITY: dict[str, SecurityScheme | Reference] = {
    "header": SecurityScheme(type="apiKey", security_scheme_in="header", name="X-API-Key"),
    "bearer": SecurityScheme(type="http", scheme="bearer"),
    "query": SecurityScheme(type="apiKey", security_scheme_in="query", name=_KEY_PARAMETER),
}


def refuse_unknown_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A misspelt parameter must not be dropped silently."""
    if handler.opt.get("any_parameters"):
        return
    known = _documented(connection)
    if known is None:
        return
    for name, count in Counter(name for name, _ in connection.query_params.multi_items()).items():
        if name != _KEY_PARAMETER and name not in known:
            names = ", ".join(sorted(known)) or "none"
            raise RefusedError(
                400, "unknown_parameter", f"{name[:64]!r} is not a parameter here; there are: {names}", name
            )
        if count > 1 and not known.get(name):
            raise RefusedError(400, "repeated_parameter", f"{name} stands there {count} times", name)


def _documented(connection: ASGIConnection[Any, Any, Any, Any]) -> dict[str, bool] | None:
    """Query parameters of this path by the OpenAPI document, and which of them are lists; None when not in it."""
    app = connection.app
    cache: dict[str, dict[str, bool]] = app.state.setdefault("documented_parameters", {})
    path = connection.scope["path_template"]
    if path not in cache:
        item = (app.openapi_schema.paths or {}).get(path)
        operation = item.get if item is not None else None
        if operation is None:
            return None
        cache[path] = {
            parameter.name: getattr(parameter.schema, "type", None) == "array"
            for parameter in operation.parameters or ()
            if isinstance(parameter, Parameter) and parameter.param_in == "query"
        }
    return cache[path]
