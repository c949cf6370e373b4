"""TradingView's data feed, as its charting library asks it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.workers.reports.conftest import client_of, settings_of

START = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp())


@pytest.fixture
async def charts(tmp_path: Path, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A service with ten minutes of BTC."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'n')")
        connection.execute("INSERT INTO assets (name) VALUES ('BTC')")
        for minute in range(10):
            connection.execute(
                "INSERT INTO price_minute (asset_id, minute, open, high, low, close, sources, confidence, samples,"
                " weighted_sum, weighted_ms, node_id) SELECT assets.id, to_timestamp(%s), 50, 52, 49, %s, 5, 2, 9,"
                " 3000000, 60000, nodes.id FROM assets, nodes",
                (START + 60 * minute, 50 + minute / 4),
            )
    async with client_of(settings_of(tmp_path, auth="optional", database_url=database_url)) as client:
        yield client


async def test_a_chart_gets_its_symbol_and_its_bars(charts: httpx.AsyncClient) -> None:
    """As the library asks: config, symbol, then history by time or by count."""
    config = (await charts.get("/udf/config")).json()
    assert config["supports_search"] is not config["supports_group_request"]
    for name in ("BTC", "btcusd", "BTC/USD", "TRINITY:BTC", "Crypto.BTC/USD"):
        symbol = (await charts.get("/udf/symbols", params={"symbol": name})).json()
        assert (symbol["ticker"], symbol["has_intraday"]) == ("BTC", True)
    assert [found["ticker"] for found in (await charts.get("/udf/search?query=bitcoin&limit=1")).json()] == ["BTC"]
    assert (await charts.get("/udf/time")).text.isdigit()
    query = {"symbol": "BTC", "resolution": "1", "from": START, "to": START + 600}
    bars = (await charts.get("/udf/history", params=query)).json()
    assert bars["s"] == "ok"
    assert bars["t"] == [START + 60 * minute for minute in range(10)]
    assert (bars["o"][0], bars["h"][0], bars["l"][0], bars["c"][-1]) == (50, 52, 49, 52.25)
    counted = (await charts.get("/udf/history", params=query | {"countback": 3})).json()
    assert counted["t"] == bars["t"][-3:]
    fives = (await charts.get("/udf/history", params=query | {"resolution": "5"})).json()
    assert fives["t"] == [START, START + 300]


async def test_nothing_there_is_said_with_where_to_look(charts: httpx.AsyncClient) -> None:
    """`nextTime` is the last bar before; without one there is none."""
    after = {"symbol": "BTC", "resolution": "1", "from": START + 3600, "to": START + 7200}
    assert (await charts.get("/udf/history", params=after)).json() == {"s": "no_data", "nextTime": START + 540}
    before = after | {"from": START - 7200, "to": START - 3600}
    assert (await charts.get("/udf/history", params=before)).json() == {"s": "no_data"}
    backwards = after | {"from": START + 7200, "to": START}
    assert (await charts.get("/udf/history", params=backwards)).json()["s"] in ("no_data", "ok")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("symbols?symbol=NOPE", 404, "unknown_symbol"),
        ("symbols?symbol=%FF", 404, "unknown_symbol"),
        ("symbols", 400, "bad_parameter"),
        ("search?limit=0", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=7&from=1&to=2", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&to=2", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&from=x&to=2", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&from=1&to=99999999999999999", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&from=-1&to=5", 400, "bad_parameter"),
        ("history?symbol=BTC&resolution=1&from=1&to=2", 503, "database_unavailable"),
    ],
)
async def test_wrong_requests_are_refused_in_udf_s_words(
    optional_client: httpx.AsyncClient, path: str, status: int, code: str
) -> None:
    """{"s":"error"} with our code beside it; a database that is away is one of them."""
    answer = await optional_client.get(f"/udf/{path}")
    assert (answer.status_code, answer.json()["s"], answer.json()["code"]) == (status, "error", code)
