"""workers/api/dashboard/day.py"""

import datetime
from decimal import Decimal
from pathlib import Path

import httpx

from tests.node.past import store_minutes
from tests.support.node_fixture import CATALOG
from tests.workers.api.conftest import client_of, settings_of


async def test_each_asset_has_its_day_by_the_node_s_candles(database_url: str, tmp_path: Path) -> None:
    """Prices are those that are stored; an asset without a whole day of them has none, and a name all the same."""
    store_minutes(database_url, {"BTC": Decimal("71002.5")}, days=1.1)
    store_minutes(database_url, {"ETH": Decimal("2484.5")}, days=0.5)
    async with client_of(settings_of(tmp_path, database_url=database_url, auth="optional")) as client:
        days = {day.pop("asset"): day for day in (await client.get("/node/day")).json()["assets"]}
        start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=24)
        found = await client.get("/history", params={"asset": "BTC", "from": start.isoformat()})
    candles = found.json()["candles"]
    assert set(days) == {asset.name for asset in CATALOG.assets}
    assert (days["BTC"]["name"], days["ETH"]["name"]) == ("Bitcoin", "Ethereum")
    assert abs(days["BTC"]["price_24h"] / candles[0]["open"] - 1) < 0.01
    assert days["BTC"]["high_24h"] == max(candle["high"] for candle in candles)
    assert days["BTC"]["low_24h"] == min(candle["low"] for candle in candles)
    assert days["ETH"] == {"name": "Ethereum", "price_24h": None, "high_24h": None, "low_24h": None}


async def test_without_a_database_there_are_names_alone(optional_client: httpx.AsyncClient) -> None:
    """Nobody waits long, and nothing is made up."""
    days = (await optional_client.get("/node/day")).json()["assets"]
    assert {day["asset"]: day["name"] for day in days}["BTC"] == "Bitcoin"
    assert all(day["price_24h"] is day["high_24h"] is day["low_24h"] is None for day in days)
