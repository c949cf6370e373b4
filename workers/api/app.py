"""The routes of the reporting service: one literal list, and what every handler of it may ask for.

Rules
- A feature adds its handlers to `OWN`, or to `FOREIGN`, and what it alone works with to `Features`. A handler asks by
  name for `parts: NamedDependency[Parts]`, `caller: NamedDependency[ApiCaller]` and its feature's piece.
- What the OpenAPI document does not name is refused by name: an unknown or repeated query parameter is a 400, also for
  what is not in the document at all (the page, the session). Foreign clients send more than they say; a handler for
  them has `opt={"any_parameters": True}`.
- Pages of any origin may read with a key; none but ours has the session's cookie (SameSite=Strict, no credentials).
- Errors are problem+json (problems.py); the id of the request is put in by calls.py.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from litestar import Litestar, Request, Response
from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.handlers import BaseRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import Components, Reference, SecurityScheme
from litestar.router import Router
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from workers.api import documentation
from workers.api.accounts import account, signin
from workers.api.administration import routes as administration
from workers.api.administration.administrator import Administration
from workers.api.base.callers.auth import provide_caller
from workers.api.base.context import Parts, ReportSettings
from workers.api.base.parameters import refuse_unknown
from workers.api.base.problems import GUIDE, HANDLERS, schemas_of
from workers.api.base.serving.compression import make_compression
from workers.api.dashboard import cluster, day, inside, node_state, page
from workers.api.dropins import hermes, hermes_past, udf
from workers.api.dropins.coingecko import router as coingecko
from workers.api.history import history
from workers.api.lookups import lookups
from workers.api.openapi.document import Ports
from workers.api.pushes import routes as pushes
from workers.api.pushes.customer import Pushes
from workers.api.streams import events as streams
from workers.api.streams import rows, sockets
from workers.api.usage import usage
from workers.api.usage.export import Usage
from workers.api.version import Versioned

OWN: tuple[ControllerRouterHandler, ...] = (
    documentation.openapi_json,
    documentation.show_documentation_file,
    lookups.show_price,
    lookups.show_prices,
    lookups.show_assets,
    account.show_account,
    usage.router,
    history.show_history,
    history.show_average,
    history.show_price_at,
    history.show_explanation,
    node_state.show_node,
    node_state.show_asset,
    inside.show_inside,
    cluster.show_cluster,
    day.show_day,
    administration.ROUTER,
    pushes.ROUTER,
    pushes.EVENTS,
    signin.show_session,
    signin.open_session,
    signin.end_session,
    page.show_page,
    page.show_file,
    streams.stream_prices,
    rows.stream_rows,
    sockets.price_socket,
)
# In the shapes of other services.
FOREIGN: tuple[ControllerRouterHandler, ...] = (
    hermes.price_feeds,
    hermes.latest_prices,
    hermes.stream_updates,
    hermes_past.past_prices,
    hermes_past.average_prices,
    coingecko.ROUTER,
    udf.ROUTER,
)
ROUTES = (*OWN, *FOREIGN)

# Of the health port of this service.
_HEALTH_PATHS = ("/live", "/ready", "/metrics")
# A key may stand in the query of every call.
_KEY_PARAMETER = "api_key"
# Where an application keeps what its handlers ask for by name.
_PIECES = "pieces"
# No call of this service has a body that is larger than a form.
BODY_BYTES_MAX = 64 * 1024
# What a page of another origin may send, and may read of the answer. Any header: a preflight gets back by name what it
# asks for, Authorization too, which an asterisk does not mean (Fetch, 3.3.4).
_CORS = CORSConfig(
    allow_origins=["*"],
    allow_methods=["GET", "HEAD", "OPTIONS"],
    allow_headers=["*"],
    allow_credentials=False,
    max_age=86_400,
    expose_headers=[
        "X-Request-Id",
        "Retry-After",
        "RateLimit",
        "RateLimit-Policy",
        "X-Should-Retry",
        "Content-Disposition",
    ],
)


class Features(NamedTuple):
    """The features' pieces, by the names under which handlers get them."""

    accounts: signin.Accounts
    administration: Administration
    dashboard: node_state.Dashboard
    history: history.History
    lookups: lookups.Lookups
    pushes: Pushes
    streams: streams.Streams
    rows: rows.RowBoard
    usage: Usage


def make_app(parts: Parts, features: Features) -> Litestar:
    """The application over one process's parts."""
    app = _make_routes()
    take_up(app, parts, features)
    return app


def take_up(app: Litestar, parts: Parts, features: Features) -> None:
    """Let an application serve these parts, in place of what it served before.

    Routes and document are the same for all parts, and cost half a second of processor.
    """
    app.state[_PIECES].update(parts=parts, **features._asdict())
    app.state.update(
        {
            "parts": parts,
            "accounts": features.accounts,
            GUIDE: _guide(parts.settings),
            documentation.DOCUMENT: (_OWN_PATHS, _ports(parts.settings)),
        }
    )
    app.state.pop(documentation.WRITTEN, None)


def _make_routes() -> Litestar:
    pieces: dict[str, object] = {}
    app = Litestar(
        list(ROUTES),
        dependencies={
            **{name: _provide(pieces, name) for name in ("parts", *Features._fields)},
            "caller": Provide(provide_caller),
        },
        before_request=signin.read_session,
        guards=[refuse_unknown_parameters],
        exception_handlers={**HANDLERS, HTTPException: _on_http},
        cors_config=_CORS,
        compression_config=make_compression(),
        openapi_config=OpenAPIConfig(
            title="Trinity",
            version=documentation.API_VERSION,
            description=documentation.DESCRIPTION,
            openapi_router=documentation.page_router(),
            render_plugins=[documentation.DocumentPage()],
            use_handler_docstrings=True,
            components=Components(security_schemes=_SECURITY),
            security=[{name: []} for name in _SECURITY],
        ),
        request_max_body_size=BODY_BYTES_MAX,
        logging_config=None,
    )
    app.state[_PIECES] = pieces
    app.asgi_handler = Versioned(app.asgi_handler, _OWN_PATHS)
    _inject_in_turn(app)
    return app


def _inject_in_turn(app: Litestar) -> None:
    """One dependency after the other: of those that need no other Litestar makes tasks, and none of ours waits.

    The tasks of two are a third of what a small answer costs.
    """
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for _, model in route.route_handler_map.values():
                model.dependency_batches = [{found} for batch in model.dependency_batches for found in batch]


def _paths_of(routes: Iterable[Any]) -> Iterator[str]:
    for route in routes:
        if isinstance(route, Router):
            yield from (found.path for found in route.routes)
        else:
            yield from route.paths


def _beginnings_of(routes: Iterable[Any]) -> tuple[str, ...]:
    """Paths up to what stands in them itself; the page is asked for by nobody who mistypes."""
    return tuple(sorted({path.partition("/{")[0] for path in _paths_of(routes)} - {"/"}))


_OWN_PATHS = (*_beginnings_of(OWN), "/docs")
# What this service answers, for whoever asks for something else.
PATHS = (*_OWN_PATHS, *_beginnings_of(FOREIGN))


def _guide(settings: ReportSettings) -> dict[str, int]:
    """All paths of the node, each with the port that answers it; this one's where several do."""
    return (
        dict.fromkeys(_HEALTH_PATHS, settings.health_port)
        | {"/health": settings.request_port}
        | dict.fromkeys(PATHS, settings.tcp_port)
    )


def _ports(settings: ReportSettings) -> Ports:
    return Ports(settings.tcp_port, settings.request_port, settings.request_health_port, settings.health_port)


def _on_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What no route answers is refused in the words of the service that was meant."""
    if request.scope["path"].startswith(f"{coingecko.PATH}/"):
        return coingecko.refuse_path(request, error)
    refused: Response[bytes] = HANDLERS[HTTPException](request, error)
    return refused


def _provide(pieces: dict[str, object], name: str) -> Provide:
    return Provide(lambda: pieces[name], sync_to_thread=False)


_SECURITY: dict[str, SecurityScheme | Reference] = {
    "header": SecurityScheme(type="apiKey", security_scheme_in="header", name="X-API-Key"),
    "bearer": SecurityScheme(type="http", scheme="bearer"),
    "query": SecurityScheme(type="apiKey", security_scheme_in="query", name=_KEY_PARAMETER),
}


async def refuse_unknown_parameters(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The guard of every route; async, for Litestar takes any other to a thread and back, call by call."""
    if not handler.opt.get("any_parameters"):
        known = {name: schema.get("type") == "array" for name, schema in schemas_of(connection).items()}
        refuse_unknown(connection.query_params.multi_items(), known | {_KEY_PARAMETER: False})
