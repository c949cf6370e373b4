"""What the overview knows of each asset beside its price: its name, and its last 24 hours by the node's own candles.

Rules: figures that the node has no candles for are null, all of them while the database is away; the page computes the
change itself, from the price that it shows. The page asks once a minute, as often as the figures are read anew.
"""

import msgspec
from litestar import Response, get
from litestar.di import NamedDependency

from workers.api.base.callers.auth import ApiCaller
from workers.api.base.context import Parts
from workers.api.dropins.coins import coin_of
from workers.api.history.history import History

_ENCODER = msgspec.json.Encoder(decimal_format="number")


@get("/node/day", tags=["node"])
async def show_day(
    caller: NamedDependency[ApiCaller],  # noqa: ARG001 - whoever may ask for prices
    parts: NamedDependency[Parts],
    history: NamedDependency[History],
) -> Response[bytes]:
    """Each asset's name, its price 24 hours ago, and its highest and lowest since, in USD."""
    pasts = await history.past.of(parts.prices.assets)
    days = [
        {
            "asset": asset,
            "name": coin_of(asset).name,
            "price_24h": past.prices.get("24h"),
            "high_24h": past.high,
            "low_24h": past.low,
        }
        for asset, past in pasts.items()
    ]
    return Response(_ENCODER.encode({"assets": days}), media_type="application/json")
