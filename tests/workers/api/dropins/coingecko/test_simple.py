"""`simple/price` and its like, with the client that CoinGecko's users have."""

from pathlib import Path

import httpx
import pytest

from tests.support.node_fixture import CATALOG
from tests.workers.api.dropins.coingecko.conftest import ask, client_of
from tests.workers.api.live import Live, live
from tests.workers.api.minutes import store_minutes
from trinity.memory.answer_table import AnswerState


async def test_the_real_client_moves_by_its_base_url(service: Live) -> None:
    """Ping, lists, prices in USD and in other coins, with precision and time."""
    client = client_of(service.url)
    service.publish("ETH", "35501.25")
    assert "gecko_says" in await ask(client.ping)
    bitcoin = {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"}
    assert bitcoin in await ask(client.get_coins_list)
    assert bitcoin | {"platforms": {}} in await ask(client.get_coins_list, include_platform=True)
    assert len(await ask(client.get_supported_vs_currencies)) == len(CATALOG.assets) + 1
    prices = await ask(client.get_price, ids="bitcoin", vs_currencies="usd", include_last_updated_at=True)
    assert prices["bitcoin"]["usd"] == 71002.5
    assert prices["bitcoin"]["last_updated_at"] > 1_700_000_000
    prices = await ask(
        client.get_price, ids=["bitcoin", "no-such-coin", "ETHEREUM"], vs_currencies=["usd", "btc", "eur"], precision=1,
        include_market_cap=True,
    )  # fmt: skip
    assert prices == {
        "bitcoin": {"usd": 71002.5, "usd_market_cap": None, "btc": 1, "btc_market_cap": None},
        "ethereum": {"usd": 35501.2, "usd_market_cap": None, "btc": 0.5, "btc_market_cap": None},
    }


async def test_a_price_that_is_not_fresh_is_left_out(service: Live) -> None:
    """As a coin, and as a currency."""
    client = client_of(service.url)
    service.publish("BTC", state=AnswerState.STALE)
    assert await ask(client.get_price, ids="bitcoin,ethereum", vs_currencies="usd,btc") == {
        "bitcoin": {},
        "ethereum": {"usd": 71002.5},
    }


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("ids=bitcoin", 422, "missing_parameter"),
        ("vs_currencies=usd", 422, "missing_parameter"),
        ("ids=bitcoin&vs_currencies=usd&precision=99", 400, "bad_parameter"),
        ("ids=bitcoin&vs_currencies=usd&precision=%C2%B2", 400, "bad_parameter"),
        ("ids=bitcoin&vs_currencies=usd&include_24hr_vol=perhaps", 422, "bad_parameter"),
        ("ids=bitcoin&vs_currencies=eur,xxx", 422, "unknown_currency"),
        ("vs_currencies=usd&ids=" + ",".join(["x"] * 10_000), 400, "bad_parameter"),
    ],
)
async def test_wrong_requests_are_refused_in_coingecko_s_words(
    optional_client: httpx.AsyncClient, query: str, status: int, code: str
) -> None:
    """{"error": ...} with our code beside it."""
    answer = await optional_client.get(f"/api/v3/simple/price?{query}")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert isinstance(answer.json()["error"], str)


async def test_foreign_names_are_left_out(optional_client: httpx.AsyncClient) -> None:
    """Whatever bytes they have."""
    for ids in ("%00", "%FF%FE", "bitcoin%20", "..%2F..", "'; DROP TABLE assets; --"):
        answer = await optional_client.get(f"/api/v3/simple/price?vs_currencies=usd,%FF&ids={ids}")
        assert answer.status_code == 200
        assert set(answer.json()) <= {"bitcoin"}


async def test_coins_are_found_by_name_and_symbol_as_well(service: Live) -> None:
    """Named in the answer as they were asked for; all three lists may stand side by side."""
    client = client_of(service.url)
    got = await ask(client.get_price, ids="cardano", vs_currencies="usd", names="Bitcoin,nope", symbols="ETH,nope")
    assert got == {name: {"usd": 71002.5} for name in ("cardano", "Bitcoin", "eth")}


async def test_the_change_of_24_hours_is_that_of_the_candles(tmp_path: Path, database_url: str) -> None:
    """In each currency; null for a coin that has no price of then."""
    store_minutes(database_url, "BTC", "50000", [1441, 3])
    store_minutes(database_url, "ETH", "50000", [1441, 3])
    async with live(tmp_path, database_url=database_url) as service:
        service.publish("BTC", "60000")
        service.publish("ETH", "30000")
        arguments = {"vs_currencies": "usd,btc", "include_24hr_change": True, "include_24hr_vol": True}
        got = await ask(client_of(service.url).get_price, ids="bitcoin,ethereum,solana", **arguments)
        assert got["bitcoin"] == {
            "usd": 60_000, "usd_24h_vol": None, "usd_24h_change": 20,
            "btc": 1, "btc_24h_vol": None, "btc_24h_change": 0,
        }  # fmt: skip
        assert (got["ethereum"]["usd_24h_change"], got["ethereum"]["btc_24h_change"]) == (-40, -50)
        assert (got["solana"]["usd"], got["solana"]["usd_24h_change"]) == (71002.5, None)


async def test_precision_never_turns_a_price_into_0_nor_into_an_exponent(service: Live) -> None:
    """The cheapest coin keeps its first digits, in USD and in bitcoin."""
    service.publish("PEPE", "0.00000123456789")
    async with httpx.AsyncClient() as client:
        for precision, usd in (
            ("2", "0.000001235"), ("0", "0.000001235"), ("8", "0.00000123"), ("full", "0.00000123456789"),
        ):  # fmt: skip
            query = f"ids=pepe&vs_currencies=usd,btc&precision={precision}"
            text = (await client.get(f"{service.url}/api/v3/simple/price?{query}")).text
            assert f'"usd":{usd},' in text
            assert "e-" not in text.lower().replace("pepe", "")


async def test_one_bitcoin_is_worth_so_much_of_everything(service: Live) -> None:
    """As CoinGecko's exchange rates: one bitcoin in USD, in itself, in ETH; what is not fresh is left out."""
    service.publish("ETH", "35501.25")
    service.publish("SOL", state=AnswerState.STALE)
    rates = (await ask(client_of(service.url).get_exchange_rates))["rates"]
    assert rates["usd"] == {"name": "US Dollar", "unit": "$", "value": 71002.5, "type": "fiat"}
    assert rates["eth"] == {"name": "Ethereum", "unit": "ETH", "value": 2, "type": "crypto"}
    assert rates["btc"]["value"] == 1
    assert "sol" not in rates
    service.publish("BTC", state=AnswerState.STALE)
    with pytest.raises(ValueError, match="stale_price"):
        await ask(client_of(service.url).get_exchange_rates)


async def test_contracts_are_unknown_and_so_left_out(service: Live) -> None:
    """The answer is empty and well-formed."""
    client = client_of(service.url)
    assert await ask(client.get_token_price, id="ethereum", contract_addresses="0x1", vs_currencies="usd") == {}
