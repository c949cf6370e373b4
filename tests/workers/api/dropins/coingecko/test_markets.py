"""`coins/markets`: rows as CoinGecko's, with what the node knows and nothing else."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.node_fixture import CATALOG
from tests.workers.api.dropins.coingecko.conftest import ask, client_of
from tests.workers.api.live import Live, live
from tests.workers.api.minutes import store_minutes
from trinity.memory.answer_table import AnswerState
from workers.api.dropins.coingecko.markets import ORDERS

KNOWN = ("id", "symbol", "name", "image", "current_price", "last_updated")
DAY = 1440
MARKETS = "/api/v3/coins/markets?vs_currency=usd"


async def test_a_row_has_all_of_coingecko_s_columns_and_null_where_the_node_knows_nothing(service: Live) -> None:
    """Market cap, supply, volume and records are null; so is the past without a database."""
    rows = await ask(client_of(service.url).get_coins_markets, vs_currency="usd")
    assert [row["symbol"].upper() for row in rows] == [asset.name for asset in CATALOG.assets]
    row = rows[0]
    assert len(row) == 26
    assert {name for name, value in row.items() if value is not None} == set(KNOWN)
    assert (row["id"], row["name"], row["current_price"]) == ("bitcoin", "Bitcoin", 71002.5)
    assert row["last_updated"].endswith("Z")


async def test_changes_and_extremes_are_those_of_the_candles_and_of_now(tmp_path: Path, database_url: str) -> None:
    """60,000 a day and a week ago, 75,000 in between, 71,002.5 now; ETH was half a bitcoin and still is."""
    for asset, factor in (("BTC", 2), ("ETH", 1)):
        for ages, price in (((DAY + 1, DAY + 2, 7 * DAY + 1), 30_000), ((600,), 37_500), ((61,), 32_500)):
            store_minutes(database_url, asset, str(price * factor), ages)
    async with live(tmp_path, database_url=database_url) as service:
        service.publish("ETH", "35501.25")
        client = client_of(service.url)
        windows = "1h,24h,7d,14d,200d"
        arguments = {"ids": "bitcoin,ethereum", "price_change_percentage": windows, "sparkline": True}
        bitcoin, ethereum = await ask(client.get_coins_markets, vs_currency="usd", **arguments)
        assert (bitcoin["high_24h"], bitcoin["low_24h"]) == (75_000, 65_000)
        assert (bitcoin["price_change_24h"], bitcoin["price_change_percentage_24h"]) == (11_002.5, 18.3375)
        changes = {window: bitcoin[f"price_change_percentage_{window}_in_currency"] for window in windows.split(",")}
        assert changes == {"1h": 9.23462, "24h": 18.3375, "7d": 18.3375, "14d": None, "200d": None}
        assert bitcoin["sparkline_in_7d"]["price"][-1] == 65_000
        assert ethereum["price_change_percentage_24h"] == 18.3375
        _, in_bitcoin = await ask(client.get_coins_markets, vs_currency="btc", **arguments)
        assert (in_bitcoin["current_price"], in_bitcoin["price_change_percentage_24h"]) == (0.5, 0)
        assert (in_bitcoin["high_24h"], in_bitcoin["low_24h"]) == (None, None)
        for price, high, change in (("78000", 78_000, 18_000), ("60000", 75_000, 0)):
            service.publish("BTC", price)
            bitcoin, _ = await ask(client.get_coins_markets, vs_currency="usd", **arguments)
            assert (bitcoin["high_24h"], bitcoin["price_change_24h"]) == (high, change), "at once"


async def test_a_day_whose_beginning_is_not_known_has_no_extremes_and_no_change(
    tmp_path: Path, database_url: str
) -> None:
    """A node that was started half a day ago does not call its half day a day."""
    store_minutes(database_url, "BTC", "60000", range(0, 720, 30))
    async with live(tmp_path, database_url=database_url) as service:
        (row,) = await ask(
            client_of(service.url).get_coins_markets, vs_currency="usd", ids="bitcoin", price_change_percentage="1h"
        )
        assert row["price_change_percentage_1h_in_currency"] is None, "30 minutes are not near an hour"
        assert (row["high_24h"], row["low_24h"], row["price_change_24h"]) == (None, None, None)


async def test_a_price_that_is_not_fresh_is_null(service: Live) -> None:
    """The row stays, without a price; in that currency all rows do."""
    service.publish("BTC", state=AnswerState.STALE)
    client = client_of(service.url)
    for currency, prices in (("usd", [None, 71002.5]), ("btc", [None, None])):
        rows = await ask(client.get_coins_markets, vs_currency=currency, ids="bitcoin,ethereum")
        assert [row["current_price"] for row in rows] == prices


async def test_what_changes_shows_in_the_next_answer(service: Live) -> None:
    """A price, its refusal, another question: no answer is made out of the last one."""
    async with httpx.AsyncClient(base_url=service.url) as client:

        async def prices(query: str = "", currency: str = "usd") -> dict[str, float | None]:
            path = f"/api/v3/coins/markets?vs_currency={currency}&symbols=btc,eth,sol{query}"
            return {row["symbol"]: row["current_price"] for row in (await client.get(path)).json()}

        before = await prices()
        assert list(before.values()) == [71002.5] * 3
        for price in ("35501.25", "35501.26", "71002.5"):
            service.publish("ETH", price)
            assert await prices() == before | {"eth": float(price)}
        service.publish("SOL", state=AnswerState.SOURCES_DISAGREE)
        assert await prices() == before | {"sol": None}
        service.publish("ETH", "142005")
        assert await prices(currency="eth") == {"btc": 0.5, "eth": 1, "sol": None}
        assert list(await prices("&order=id_desc&per_page=2")) == ["sol", "eth"]
        assert list(await prices("&order=id_asc&per_page=2&page=2")) == ["sol"]
        assert await prices("&precision=0") == {"btc": 71002, "eth": 142005, "sol": None}
        service.publish("SOL", "1.5")
        assert await prices() == {"btc": 71002.5, "eth": 142005, "sol": 1.5}


async def test_coins_are_chosen_by_id_name_or_symbol_and_by_page(optional_client: httpx.AsyncClient) -> None:
    """One that is not known spoils nothing."""
    for query, symbols in (
        ("&ids=bitcoin,nope,ethereum", ["btc", "eth"]),
        ("&ids=nope", []),
        ("&names=Bitcoin,cardano", ["btc", "ada"]),
        ("&symbols=ETH,xyz", ["eth"]),
        ("&ids=bitcoin&names=Pepe&symbols=btc", ["btc", "pepe"]),
        ("&per_page=2&order=id_asc", ["aave", "arb"]),
        ("&per_page=2&page=2&order=id_asc", ["avax", "bnb"]),
        ("&per_page=1&order=id_desc", ["usdc"]),
        ("&page=99", []),
    ):
        rows = (await optional_client.get(MARKETS + query)).json()
        assert sorted(row["symbol"] for row in rows) == sorted(symbols), query


@pytest.mark.parametrize(
    ("query", "status", "field", "allowed"),
    [
        ("vs_currency=xxx", 422, "vs_currency", "usd, btc"),
        ("", 422, "vs_currency", ""),
        ("vs_currency=usd&order=best", 400, "order", ", ".join(ORDERS)),
        ("vs_currency=usd&price_change_percentage=1h,2h", 400, "price_change_percentage", "1h, 24h, 7d"),
        ("vs_currency=usd&per_page=251", 422, "per_page", "250"),
        ("vs_currency=usd&precision=19", 400, "precision", "full"),
        ("vs_currency=usd&category=layer-1", 404, "category", ""),
    ],
)
async def test_wrong_words_are_refused_with_those_that_are_allowed(
    optional_client: httpx.AsyncClient, query: str, status: int, field: str, allowed: str
) -> None:
    """In CoinGecko's form, with the parameter's name."""
    answer = await optional_client.get(f"/api/v3/coins/markets?{query}")
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["field"]) == (status, field)
    assert allowed in body["error"]
