"""CoinGecko's answers, with the client that its users have."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pycoingecko import CoinGeckoAPI  # type: ignore[import-untyped]

from tests.support.node_fixture import CATALOG
from tests.workers.api.conftest import ADMIN_KEY
from tests.workers.api.live import Live, live
from tests.workers.api.minutes import store_minutes
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
    store_minutes(database_url, "BTC", "50.25", range(20, 40))
    async with live(tmp_path, database_url=database_url) as service:
        client = client_of(service)
        chart = await ask(client.get_coin_market_chart_by_id, id="bitcoin", vs_currency="usd", days=1)
        *closes, (_, newest) = chart["prices"]
        assert 3 <= len(closes) <= 5
        assert {price for _, price in closes} == {50.25}
        assert all(time % 300_000 == 0 for time, _ in closes)
        assert newest == 71002.5
        service.publish("BTC", timestamp_ms=closes[-1][0])
        again = await ask(client.get_coin_market_chart_by_id, id="bitcoin", vs_currency="usd", days=1)
        assert again["prices"] == closes, "times only ever go on"
        for wrong in ({"id": "nope"}, {"vs_currency": "xxx"}, {"days": "many"}, {"interval": "never"}):
            arguments = {"id": "bitcoin", "vs_currency": "usd", "days": "1"} | wrong
            with pytest.raises(ValueError, match="error"):
                await ask(client.get_coin_market_chart_by_id, **arguments)


async def test_a_chart_has_the_interval_that_is_asked_for(tmp_path: Path, database_url: str) -> None:
    """Five minutes, hours or days, of the past days or of a range; the bound of an answer is said."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start = int(day.timestamp()) - 2 * 86_400
    store_minutes(database_url, "BTC", "50.25", range(2 * 1440 + 5), day)
    async with live(tmp_path, database_url=database_url) as service:
        client = client_of(service)
        by_days, by_range = client.get_coin_market_chart_by_id, client.get_coin_market_chart_range_by_id
        for interval, step in (("5m", 300), ("hourly", 3600), ("daily", 86_400)):
            got = await ask(by_days, id="bitcoin", vs_currency="usd", days=3, interval=interval)
            times = [time for time, _ in got["prices"][:-1]]
            # The newest stored minute is the first one of today.
            assert {after - before for before, after in itertools.pairwise(times)} == {step * 1000}
            span = {"from_timestamp": start, "to_timestamp": start + 86_400}
            got = await ask(by_range, id="bitcoin", vs_currency="usd", interval=interval, **span)
            times = [time for time, _ in got["prices"]]
            assert times == list(range(start * 1000, (start + 86_400) * 1000 + 1, step * 1000))
        for wrong in (
            {"days": 11, "interval": "5m"},
            {"days": 1, "interval": "weekly"},
        ):
            with pytest.raises(ValueError, match="interval"):
                await ask(by_days, id="bitcoin", vs_currency="usd", **wrong)
        for first, last in ((start, start), (start + 1, start), (start - 100 * 86_400, start)):
            with pytest.raises(ValueError, match="bad_parameter"):
                await ask(by_range, id="bitcoin", vs_currency="usd", from_timestamp=first, to_timestamp=last)
        with psycopg.connect(database_url) as connection:
            connection.execute("DROP TABLE price_minute CASCADE")
        with pytest.raises(ValueError, match="database_unavailable"):
            await ask(by_days, id="bitcoin", vs_currency="usd", days=1)


async def test_a_database_that_is_away_is_told_in_coingecko_s_words(optional_client: httpx.AsyncClient) -> None:
    """{"error": ...} with our code beside it, and when to try again."""
    for path in ("market_chart?vs_currency=usd&days=1", "market_chart/range?vs_currency=usd&from=1&to=2"):
        answer = await optional_client.get(f"/api/v3/coins/bitcoin/{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert isinstance(answer.json()["error"], str)
        assert int(answer.headers["Retry-After"]) > 0


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
