"""Lists without prices."""

import httpx

from tests.support.node_fixture import CATALOG
from tests.workers.api.dropins.coingecko.conftest import ask, client_of
from tests.workers.api.live import Live


async def test_what_the_node_has_is_listed_and_what_it_has_not_is_an_empty_list(service: Live) -> None:
    """Coins, exchanges and their numbers; no trends, platforms or categories."""
    client = client_of(service.url)
    bitcoin = {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"}
    assert bitcoin in await ask(client.get_coins_list)
    assert bitcoin | {"platforms": {}} in await ask(client.get_coins_list, include_platform=True)
    exchanges = await ask(client.get_exchanges_id_name_list)
    assert {"id": "kraken", "name": "Kraken"} in exchanges
    assert len(exchanges) == len(CATALOG.exchanges)
    figures = await ask(client.get_global)
    assert (figures["active_cryptocurrencies"], figures["markets"]) == (len(CATALOG.assets), len(exchanges))
    assert (figures["total_market_cap"], figures["market_cap_change_percentage_24h_usd"]) == ({}, None)
    assert await ask(client.get_search_trending) == {"coins": [], "nfts": [], "categories": []}
    for nothing in (client.get_asset_platforms, client.get_coins_categories, client.get_coins_categories_list):
        assert await ask(nothing) == []


async def test_a_search_finds_ids_names_symbols_and_exchanges(service: Live) -> None:
    """In any case; an exact symbol first, a renamed coin by its old one."""
    client = client_of(service.url)
    found = await ask(client.search, query="ETH")
    assert found["coins"][0] == {
        "id": "ethereum", "name": "Ethereum", "api_symbol": "ethereum", "symbol": "ETH",
        "market_cap_rank": None, "thumb": "", "large": "",
    }  # fmt: skip
    assert {coin["symbol"] for coin in found["coins"]} >= {"ETH", "USDT"}, "tether has it inside"
    assert [coin["symbol"] for coin in (await ask(client.search, query="ton"))["coins"]] == ["GRAM"]
    assert [exchange["id"] for exchange in (await ask(client.search, query="okx"))["exchanges"]] == ["okex"]
    nobody = await ask(client.search, query="no such thing")
    assert nobody == {"coins": [], "exchanges": [], "icos": [], "categories": [], "nfts": []}


async def test_a_search_without_a_word_is_refused(optional_client: httpx.AsyncClient) -> None:
    """With the parameter's name, as CoinGecko does."""
    answer = await optional_client.get("/api/v3/search")
    assert (answer.status_code, answer.json()["error"]) == (422, "Missing parameter query")
