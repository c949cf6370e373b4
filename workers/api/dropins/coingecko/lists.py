"""What there is, without prices: coins, exchanges, and what other parts of CoinGecko's API would list.

    GET /coins/list                 include_platform
    GET /search?query=              coins and exchanges by id, name or symbol
    GET /exchanges/list
    GET /global                     how many coins and exchanges there are
    GET /search/trending, /asset_platforms, /coins/categories, /coins/categories/list      always empty

Rules: an empty list says that this node has none; a number that it does not know is null.
"""

from typing import Annotated, Any

from litestar import get
from litestar.di import NamedDependency
from litestar.params import QueryParameter

from trinity.clock import NS_PER_SECOND
from workers.api.base.callers.auth import ApiCaller
from workers.api.base.context import Parts
from workers.api.dashboard.node_state import Dashboard
from workers.api.dropins.coingecko.answers import TAGS, Flag
from workers.api.dropins.coins import EXCHANGES, coin_of


@get("/coins/list", tags=TAGS, sync_to_thread=False)
def coins_list(
    parts: NamedDependency[Parts],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    include_platform: Flag = False,
) -> list[dict[str, Any]]:
    """The assets of this node; it knows no addresses of contracts."""
    platforms: dict[str, Any] = {"platforms": {}} if include_platform else {}
    return [
        {"id": coin_of(asset).coingecko_id, "symbol": asset.lower(), "name": coin_of(asset).name, **platforms}
        for asset in parts.prices.assets
    ]


@get("/search", tags=TAGS, sync_to_thread=False)
def search(
    parts: NamedDependency[Parts],
    dashboard: NamedDependency[Dashboard],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
    text: Annotated[str, QueryParameter(name="query", description="part of an id, a name or a symbol")],
) -> dict[str, list[Any]]:
    """Coins and exchanges; an exact symbol comes first."""
    wanted = text.strip().lower()
    coins = []
    for asset in parts.prices.assets:
        coin = coin_of(asset)
        if wanted in f"{coin.coingecko_id} {coin.name} {parts.prices.called(asset)}".lower():
            coins.append(
                {
                    "id": coin.coingecko_id, "name": coin.name, "api_symbol": coin.coingecko_id, "symbol": asset,
                    "market_cap_rank": None, "thumb": "", "large": "",
                }
            )  # fmt: skip
    coins.sort(key=lambda coin: coin["symbol"] != text.strip().upper())
    exchanges = [
        {"id": known.coingecko_id, "name": known.name, "market_type": "spot", "thumb": "", "large": ""}
        for known in (EXCHANGES[exchange] for exchange in dashboard.memory.card.catalog.exchanges)
        if wanted in f"{known.coingecko_id} {known.name}".lower()
    ]
    return {"coins": coins, "exchanges": exchanges, "icos": [], "categories": [], "nfts": []}


@get("/exchanges/list", tags=TAGS, sync_to_thread=False)
def exchanges_list(
    dashboard: NamedDependency[Dashboard],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
) -> list[dict[str, str]]:
    """The exchanges whose prices this node has."""
    known = [EXCHANGES[exchange] for exchange in dashboard.memory.card.catalog.exchanges]
    return [{"id": exchange.coingecko_id, "name": exchange.name} for exchange in known]


@get("/global", tags=TAGS, sync_to_thread=False)
def global_figures(
    parts: NamedDependency[Parts],
    dashboard: NamedDependency[Dashboard],
    caller: NamedDependency[ApiCaller],  # noqa: ARG001
) -> dict[str, dict[str, Any]]:
    """Coins and exchanges of this node; it knows no market caps and no volumes."""
    return {
        "data": {
            "active_cryptocurrencies": len(parts.prices.assets),
            "upcoming_icos": None, "ongoing_icos": None, "ended_icos": None,
            "markets": len(dashboard.memory.card.catalog.exchanges),
            "total_market_cap": {}, "total_volume": {}, "market_cap_percentage": {},
            "market_cap_change_percentage_24h_usd": None, "volume_change_percentage_24h_usd": None,
            "updated_at": parts.context.clock.wall_ns() // NS_PER_SECOND,
        }
    }  # fmt: skip


@get("/search/trending", tags=TAGS, sync_to_thread=False)
def trending(caller: NamedDependency[ApiCaller]) -> dict[str, list[Any]]:  # noqa: ARG001
    """Always empty: what people search for elsewhere is not known here."""
    return {"coins": [], "nfts": [], "categories": []}


@get(["/asset_platforms", "/coins/categories", "/coins/categories/list"], tags=TAGS, sync_to_thread=False)
def nothing(caller: NamedDependency[ApiCaller]) -> list[Any]:  # noqa: ARG001
    """Always empty: this node has none."""
    return []
