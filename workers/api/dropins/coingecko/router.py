"""The routes under /api/v3: one literal list, and what answers a path that is not among them."""

from http import HTTPStatus
from typing import Any

from litestar import Request, Response, Router
from litestar.exceptions import HTTPException

from workers.api.base.problems import ProblemError
from workers.api.dropins.coingecko import charts, coin, key, lists, markets, simple
from workers.api.dropins.coingecko.errors import HANDLERS, respond

PATH = "/api/v3"
_ROUTES = (
    simple.ping,
    simple.simple_price,
    simple.supported_vs_currencies,
    simple.token_price,
    simple.exchange_rates,
    markets.coins_markets,
    coin.coin,
    coin.coin_history,
    coin.coin_tickers,
    charts.market_chart,
    charts.market_chart_range,
    charts.ohlc,
    charts.ohlc_range,
    key.show_key,
    lists.coins_list,
    lists.search,
    lists.trending,
    lists.exchanges_list,
    lists.global_figures,
    lists.nothing,
)


ROUTER = Router(path=PATH, route_handlers=list(_ROUTES), opt={"any_parameters": True}, exception_handlers=HANDLERS)
_PATHS = ", ".join(sorted(path.replace(":str}", "}") for route in _ROUTES for path in route.paths))


def refuse_path(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Whatever else CoinGecko has, and other methods: in its own form, with what there is."""
    if error.status_code == HTTPStatus.NOT_FOUND:
        return respond(request, ProblemError(404, "unknown_path", f"Incorrect path: this node has {_PATHS}"))
    problem = ProblemError(error.status_code, "method_not_allowed", error.detail, headers=error.headers)
    return respond(request, problem)
