"""CoinGecko's answers, with the client that its users have."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pycoingecko import CoinGeckoAPI  # type: ignore[import-untyped]

from tests.trinity.node_fixture import CATALOG
from tests.workers.reports.conftest import ADMIN_KEY
from tests.workers.reports.live import Live, live
from trinity.memory.answer_table import AnswerState


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Live]:
    async with live(tmp_path) as running:
        yield running


def client_of(service: Live, **arguments: Any) -> Any:
    """The real client; only its base URL is changed."""
    client = CoinGeckoAPI(**arguments)
    client.api_base_url = f"{service.url}/api/v3/"
    return client


async def ask(call: Any, *arguments: Any, **named: Any) -> Any:
    return await asyncio.to_thread(call, *arguments, **named)


async def test_the_real_client_moves_by_its_base_url(service: Live) -> None:
    """Ping, lists, prices in USD and in other coins, with precision and time."""
    client = client_of(service)
    service.publish("ETH", "35501.25")
    assert "gecko_says" in await ask(client.ping)
    assert {"id": "bitcoin", "symbol": "btc", "name": "Bitcoin"} in await ask(client.get_coins_list)
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
    client = client_of(service)
    service.publish("BTC", state=AnswerState.STALE)
    assert await ask(client.get_price, ids="bitcoin,ethereum", vs_currencies="usd,btc") == {
        "bitcoin": {},
        "ethereum": {"usd": 71002.5},
    }


async def test_a_key_goes_where_the_client_puts_it(tmp_path: Path) -> None:
    """As CoinGecko's demo key; a wrong one is an error of the client's kind."""
    async with live(tmp_path, auth="required") as service:
        client = client_of(service, demo_api_key=ADMIN_KEY)
        assert (await ask(client.get_price, ids="bitcoin", vs_currencies="usd"))["bitcoin"]["usd"] == 71002.5
        with pytest.raises(ValueError, match="missing_key"):
            await ask(client_of(service).get_price, ids="bitcoin", vs_currencies="usd")


async def test_a_chart_is_made_of_stored_minutes_and_the_newest_price(tmp_path: Path, database_url: str) -> None:
    """Closes with the time at which they stood, in milliseconds."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'n')")
        connection.execute("INSERT INTO assets (name) VALUES ('BTC')")
        for age in range(20, 40):
            connection.execute(
                "INSERT INTO price_minute (asset_id, minute, open, high, low, close, sources, confidence, samples,"
                " weighted_sum, weighted_ms, node_id) SELECT assets.id, %s, 50, 50, 50, 50.25, 5, 2, 9, 3000000, 60000,"
                " nodes.id FROM assets, nodes",
                (now - timedelta(minutes=age),),
            )
    async with live(tmp_path, database_url=database_url) as service:
        client = client_of(service)
        chart = await ask(client.get_coin_market_chart_by_id, id="bitcoin", vs_currency="usd", days=1)
        *closes, (_, newest) = chart["prices"]
        assert 3 <= len(closes) <= 5
        assert {price for _, price in closes} == {50.25}
        assert all(time % 300_000 == 0 for time, _ in closes)
        assert newest == 71002.5
        for wrong in ({"id": "nope"}, {"vs_currency": "xxx"}, {"days": "many"}, {"interval": "never"}):
            arguments = {"id": "bitcoin", "vs_currency": "usd", "days": "1"} | wrong
            with pytest.raises(ValueError, match="error"):
                await ask(client.get_coin_market_chart_by_id, **arguments)


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("ids=bitcoin", 422, "bad_parameter"),
        ("vs_currencies=usd", 422, "missing_parameter"),
        ("ids=bitcoin&vs_currencies=usd&precision=99", 400, "bad_parameter"),
        ("ids=bitcoin&vs_currencies=usd&precision=%C2%B2", 400, "bad_parameter"),
        ("ids=bitcoin&vs_currencies=usd&include_24hr_vol=perhaps", 422, "bad_parameter"),
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
