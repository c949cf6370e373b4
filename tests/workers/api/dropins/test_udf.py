"""TradingView's data feed, as its charting library asks it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec
import psycopg
import pytest

from tests.workers.api.conftest import client_of, settings_of

START = int(datetime(2026, 1, 1, 12, tzinfo=UTC).timestamp())


@pytest.fixture
async def charts(tmp_path: Path, database_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A service with ten minutes of BTC, and one of the day after."""
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO nodes (uuid, name) VALUES (gen_random_uuid(), 'n')")
        connection.execute("INSERT INTO assets (name) VALUES ('BTC')")
        for minute in (*range(10), 1440):
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


class Exchange(msgspec.Struct, forbid_unknown_fields=True):
    value: str
    name: str
    desc: str


class SymbolType(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    value: str


class Configuration(msgspec.Struct, forbid_unknown_fields=True):
    """The answer to /config by TradingView's description of UDF."""

    supports_search: bool
    supports_group_request: bool
    supports_marks: bool
    supports_timescale_marks: bool
    supports_time: bool
    supported_resolutions: list[str]
    exchanges: list[Exchange]
    symbols_types: list[SymbolType]


class SymbolInfo(msgspec.Struct, forbid_unknown_fields=True):
    """The library's LibrarySymbolInfo, as far as it is sent."""

    name: str
    ticker: str
    full_name: str
    description: str
    type: str
    session: Literal["24x7"]
    timezone: Literal["Etc/UTC"]
    exchange: str
    listed_exchange: str
    format: Literal["price", "volume"]
    minmov: int
    pricescale: int
    has_intraday: bool
    has_daily: bool
    has_weekly_and_monthly: bool
    intraday_multipliers: list[str]
    supported_resolutions: list[str]
    visible_plots_set: Literal["ohlcv", "ohlc", "c"]
    volume_precision: int
    data_status: Literal["streaming", "endofday", "delayed_streaming"]
    currency_code: str


class Found(msgspec.Struct, forbid_unknown_fields=True):
    """One result of a search."""

    symbol: str
    full_name: str
    description: str
    exchange: str
    ticker: str
    type: str


async def test_answers_have_the_shapes_of_the_protocol(charts: httpx.AsyncClient) -> None:
    """No field that it does not know, each of its kind; what says how to show a price does not need one."""
    configuration = msgspec.json.decode((await charts.get("/udf/config")).content, type=Configuration)
    symbol = msgspec.json.decode((await charts.get("/udf/symbols?symbol=BTC")).content, type=SymbolInfo)
    found = msgspec.json.decode((await charts.get("/udf/search?query=")).content, type=list[Found])
    assert symbol.supported_resolutions == configuration.supported_resolutions
    assert set(symbol.intraday_multipliers) == {name for name in configuration.supported_resolutions if name.isdigit()}
    assert {hit.exchange for hit in found} == {exchange.value for exchange in configuration.exchanges}
    assert {hit.type for hit in found} == {kind.value for kind in configuration.symbols_types}
    scales = {
        name: (await charts.get("/udf/symbols", params={"symbol": name})).json()["pricescale"]
        for name in ("BTC", "DOGE", "PEPE")
    }
    assert scales == {"BTC": 100, "DOGE": 100_000, "PEPE": 10_000_000_000}


async def test_a_search_is_narrowed_by_exchange_and_type(charts: httpx.AsyncClient) -> None:
    """As the library's dialog sends them: empty for all."""
    for query, count in (
        ("type=&exchange=", 1),
        ("type=crypto&exchange=TRINITY", 1),
        ("type=stock&exchange=", 0),
        ("exchange=NYSE", 0),
    ):
        assert len((await charts.get(f"/udf/search?query=bitcoin&limit=1&{query}")).json()) == count


async def test_so_many_bars_are_counted_back_across_gaps(charts: httpx.AsyncClient) -> None:
    """`countback` goes before `from`; a day without prices between two bars costs none of them."""
    later = START + 86_400
    query: dict[str, Any] = {"symbol": "BTC", "resolution": "1", "from": later, "to": later + 60}
    counted = (await charts.get("/udf/history", params=query | {"countback": 3})).json()
    assert counted["t"] == [START + 480, START + 540, later]
    everything = (await charts.get("/udf/history", params=query | {"countback": 10_000})).json()
    assert everything["t"] == [*(START + 60 * minute for minute in range(10)), later]
    fives = (await charts.get("/udf/history", params=query | {"resolution": "5", "countback": 2})).json()
    assert fives["t"] == [START + 300, later]
    # The end is left out, a bar that begins with `from` is not.
    border = query | {"from": START + 60, "to": START + 120}
    assert (await charts.get("/udf/history", params=border)).json()["t"] == [START + 60]


async def test_nothing_there_is_said_with_where_to_look(charts: httpx.AsyncClient) -> None:
    """`nextTime` is the last bar before; without one there is none."""
    after = {"symbol": "BTC", "resolution": "1", "from": START + 3600, "to": START + 7200}
    assert (await charts.get("/udf/history", params=after)).json() == {"s": "no_data", "nextTime": START + 540}
    hours = after | {"resolution": "60"}
    assert (await charts.get("/udf/history", params=hours)).json() == {"s": "no_data", "nextTime": START}
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


async def test_a_database_without_tables_is_told_in_udf_s_words(charts: httpx.AsyncClient, database_url: str) -> None:
    """Whatever it is that a database cannot do now."""
    with psycopg.connect(database_url) as connection:
        connection.execute("DROP TABLE price_minute CASCADE")
    answer = await charts.get(f"/udf/history?symbol=BTC&resolution=1&from={START}&to={START + 60}")
    assert (answer.status_code, answer.json()["s"], answer.json()["code"]) == (503, "error", "database_unavailable")
